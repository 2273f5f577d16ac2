// SPDX-License-Identifier: Apache-2.0
// Five hundred VMs on one daemon: made, started, listed, watched, stopped and deleted without an
// error.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <thread>

#include "tests/api/daemon_process.h"

namespace trapline::daemon {
namespace {

constexpr int kVms = 500;

std::string Id(int i) { return "idle-" + std::to_string(i); }

class ManyVms : public ::testing::TestWithParam<v1::Engine> {
 protected:
  grpc::Status Create(const std::string& id) { return daemon_.CreateIdleVm(id, GetParam()); }
  grpc::Status Start(const std::string& id) { return daemon_.StartVm(id); }
  grpc::Status Stop(const std::string& id) {
    v1::StopVmRequest request;
    request.set_name("vms/" + id);
    request.set_mode(v1::StopVmRequest::FORCED);
    v1::StopVmResponse response;
    grpc::ClientContext context;
    return daemon_.vms().StopVm(&context, request, &response);
  }
  grpc::Status Delete(const std::string& id) {
    v1::DeleteVmRequest request;
    request.set_name("vms/" + id);
    google::protobuf::Empty response;
    grpc::ClientContext context;
    return daemon_.vms().DeleteVm(&context, request, &response);
  }
  // All, over as many pages as it takes.
  std::map<std::string, v1::Vm> List() {
    std::map<std::string, v1::Vm> all;
    v1::ListVmsRequest request;
    v1::ListVmsResponse page;
    do {
      grpc::ClientContext context;
      grpc::Status status = daemon_.vms().ListVms(&context, request, &page);
      EXPECT_TRUE(status.ok()) << status.error_message();
      for (const v1::Vm& vm : page.vms()) all[vm.name()] = vm;
      request.set_page_token(page.next_page_token());
    } while (!page.next_page_token().empty());
    return all;
  }

  DaemonProcess daemon_;
};

TEST_P(ManyVms, AreMadeListedWatchedStoppedAndDeletedWithoutAnError) {
  grpc::ClientContext context;
  auto watch = daemon_.vms().WatchVmEvents(&context, v1::WatchVmEventsRequest());
  watch->WaitForInitialMetadata();
  std::map<std::string, std::multiset<v1::VmEvent::Kind>> seen;
  uint64_t missed = 0;
  std::thread watcher([&] {
    v1::WatchVmEventsResponse response;
    for (int deleted = 0; deleted < kVms && watch->Read(&response);) {
      missed += response.missed();
      if (!response.has_event()) continue;
      seen[response.event().vm()].insert(response.event().kind());
      deleted += response.event().kind() == v1::VmEvent::DELETED;
    }
    context.TryCancel();
  });

  auto each = [&](const char* what, auto&& call) {
    for (int i = 0; i < kVms; ++i) {
      grpc::Status status = call(Id(i));
      EXPECT_TRUE(status.ok()) << what << " " << Id(i) << ": " << status.error_message();
    }
  };
  each("create", [&](const std::string& id) { return Create(id); });
  each("start", [&](const std::string& id) { return Start(id); });
  std::map<std::string, v1::Vm> listed = List();
  EXPECT_EQ(listed.size(), kVms);
  for (const auto& [name, vm] : listed) {
    EXPECT_EQ(vm.state(), v1::Vm::RUNNING) << name << ": " << vm.state_reason();
    EXPECT_EQ(vm.engine(), GetParam()) << name;
    // Engine direct cannot count them.
    if (GetParam() == v1::ENGINE_SOFT) {
      EXPECT_GT(vm.instructions_retired(), 0u) << name << " was not asked";
    }
  }
  each("stop", [&](const std::string& id) { return Stop(id); });
  for (const auto& [name, vm] : List()) EXPECT_EQ(vm.state(), v1::Vm::STOPPED) << name;
  each("delete", [&](const std::string& id) { return Delete(id); });
  EXPECT_TRUE(List().empty());

  watcher.join();
  EXPECT_EQ(missed, 0u);
  EXPECT_EQ(seen.size(), kVms);
  for (const auto& [name, kinds] : seen) {
    EXPECT_THAT(kinds, ::testing::ElementsAre(v1::VmEvent::CREATED, v1::VmEvent::STARTED,
                                              v1::VmEvent::STOPPED, v1::VmEvent::DELETED))
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, ManyVms, ::testing::Values(v1::ENGINE_SOFT, v1::ENGINE_DIRECT),
                         [](const auto& info) { return v1::Engine_Name(info.param); });

}  // namespace
}  // namespace trapline::daemon

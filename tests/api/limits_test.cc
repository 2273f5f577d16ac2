// SPDX-License-Identifier: Apache-2.0
// Workers that do not answer, and clients that ask for too much or are gone without a word: they
// cost their own, and nobody else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "tests/api/daemon_process.h"
#include "tests/api/silent_peer.h"
#include "tests/common/error_info.h"
#include "tests/common/scratch.h"
#include "tests/load/process_use.h"

namespace trapline::daemon {
namespace {

using ::testing::HasSubstr;

constexpr char kEndless[] = "calls=1000000000000";
constexpr auto kPatience = std::chrono::seconds(60);

class Limits : public ::testing::Test {
 protected:
  // Streams of a client, and how one more of them begins.
  struct Watch {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::WatchVmEventsResponse>> stream;
  };

  // limits: the keys of that section.
  void Serve(const std::string& limits) {
    std::ofstream(directory_ + "/t.toml")
        << "[limits]\n"
        << limits << "[audit]\nfile = \"" << directory_ << "/audit.log\"\n";
    daemon_ = std::make_unique<DaemonProcess>(
        directory_, std::vector<std::string>{"--config", directory_ + "/t.toml"});
    daemon_->KeepDirectory();
  }
  // Starts a VM whose guest runs on; its worker.
  pid_t Run(const std::string& id) {
    const auto before = daemon_->Children("trapline-vmm");
    EXPECT_TRUE(daemon_->CreateVm(id, "hello", kEndless, v1::ENGINE_SOFT).ok());
    EXPECT_TRUE(daemon_->StartVm(id).ok());
    for (pid_t child : daemon_->Children("trapline-vmm")) {
      if (std::find(before.begin(), before.end(), child) == before.end()) return child;
    }
    ADD_FAILURE() << "no worker";
    return 0;
  }
  grpc::Status List() {
    grpc::ClientContext context;
    v1::ListVmsResponse response;
    return daemon_->vms().ListVms(&context, {}, &response);
  }
  grpc::Status ReadRegisters(const std::string& id) {
    grpc::ClientContext context;
    v1::ReadRegistersRequest request;
    request.set_name("vms/" + id);
    v1::Registers response;
    return daemon_->vms().ReadRegisters(&context, request, &response);
  }
  grpc::Status SetPolicy(const std::string& id) {
    grpc::ClientContext context;
    v1::SetPolicyRequest request;
    request.set_name("vms/" + id);
    v1::Policy response;
    return daemon_->sites().SetPolicy(&context, request, &response);
  }
  grpc::Status ResetCounters(const std::string& id) {
    grpc::ClientContext context;
    v1::ResetSiteCountersRequest request;
    request.set_name("vms/" + id);
    v1::SiteTotals response;
    return daemon_->sites().ResetSiteCounters(&context, request, &response);
  }
  // Whether a trace of the VM comes to its first response.
  bool Trace(const std::string& id) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::StreamHypercallsRequest request;
    request.set_parent("vms/" + id);
    auto stream = daemon_->traces().StreamHypercalls(&context, request);
    v1::StreamHypercallsResponse response;
    const bool read = stream->Read(&response);
    context.TryCancel();
    return read;
  }
  // All of its threads: they go on for a moment after kill(2).
  static void Stop(pid_t worker) {
    kill(worker, SIGSTOP);
    for (const auto& task :
         std::filesystem::directory_iterator("/proc/" + std::to_string(worker) + "/task")) {
      std::string pid, name, state;
      while (state != "T") std::ifstream(task.path() / "stat") >> pid >> name >> state;
    }
  }
  // OK where one more watch stands, which takes a VM to tell of.
  grpc::Status WatchOnce() {
    auto watch = std::make_unique<Watch>();
    v1::WatchVmEventsRequest request;
    request.set_initial_state(true);
    watch->stream = daemon_->vms().WatchVmEvents(&watch->context, request);
    v1::WatchVmEventsResponse response;
    if (!watch->stream->Read(&response)) return watch->stream->Finish();
    watches_.push_back(std::move(watch));
    return grpc::Status::OK;
  }
  // The same, as soon as there is room for it.
  grpc::Status WatchInTheEnd() {
    grpc::Status status;
    for (const auto end = std::chrono::steady_clock::now() + kPatience;
         std::chrono::steady_clock::now() < end;) {
      status = WatchOnce();
      if (status.ok()) break;
    }
    return status;
  }

  const Scratch scratch_;
  const std::string directory_ = scratch_.path();
  std::unique_ptr<DaemonProcess> daemon_;
  std::vector<std::unique_ptr<Watch>> watches_;
};

TEST_F(Limits, AWorkerThatIsStoppedHoldsUpItsOwnCallsAloneAndNotForEver) {
  Serve("");
  const pid_t worker = Run("a");
  Run("b");
  Stop(worker);
  grpc::ClientContext typing;
  auto keys = daemon_->vms().Console(&typing);
  v1::ConsoleRequest key;
  key.set_name("vms/a");
  key.set_input("x");
  keys->Write(key);
  EXPECT_FALSE(Trace("a"));
  grpc::Status statuses[3];
  std::thread asking[] = {std::thread([&] { statuses[0] = ReadRegisters("a"); }),
                          std::thread([&] { statuses[1] = SetPolicy("a"); }),
                          std::thread([&] { statuses[2] = ResetCounters("a"); })};
  EXPECT_TRUE(ReadRegisters("b").ok());
  EXPECT_TRUE(Trace("b"));
  EXPECT_THAT(daemon_->ConsoleUntil("b", "hello"), HasSubstr("hello"));
  EXPECT_TRUE(List().ok());
  for (std::thread& thread : asking) thread.join();
  for (const grpc::Status& status : statuses) {
    EXPECT_EQ(status.error_code(), grpc::DEADLINE_EXCEEDED);
    EXPECT_EQ(InfoOf(status).reason(), "WORKER_SLOW");
    EXPECT_EQ(InfoOf(status).metadata().at("vm"), "a");
    EXPECT_THAT(status.error_message(), HasSubstr("the worker of VM a did not answer"));
  }
  kill(worker, SIGCONT);
  EXPECT_TRUE(ReadRegisters("a").ok());
  EXPECT_TRUE(Trace("a"));
  EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::RUNNING);
  typing.TryCancel();
}

TEST_F(Limits, AWorkerIsNotWaitedForLongerThanTheClientWaits) {
  Serve("");
  const pid_t worker = Run("a");
  Stop(worker);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  v1::StopVmRequest request;
  request.set_name("vms/a");
  request.mutable_grace_period()->set_seconds(3600);
  v1::StopVmResponse response;
  EXPECT_EQ(daemon_->vms().StopVm(&context, request, &response).error_code(),
            grpc::DEADLINE_EXCEEDED);
  // The daemon's own end of that call is on record once it has come.
  std::string audited;
  for (const auto end = std::chrono::steady_clock::now() + kPatience;
       audited.find("StopVm") == std::string::npos && std::chrono::steady_clock::now() < end;) {
    std::ifstream log(directory_ + "/audit.log");
    audited.assign(std::istreambuf_iterator<char>(log), {});
  }
  EXPECT_THAT(audited, HasSubstr("\"reason\":\"WORKER_SLOW\""));
  EXPECT_TRUE(daemon_->DeleteVm("a").ok()) << "a stopped worker can be ended";
}

TEST_F(Limits, WhoHasAsManyStreamsAsItMayIsToldAndServedOtherwise) {
  Serve("max_streams_per_caller = 20\n");
  ASSERT_TRUE(daemon_->CreateIdleVm("a").ok());
  grpc::Status status;
  while (status.ok() && watches_.size() < 1000) status = WatchOnce();
  EXPECT_EQ(watches_.size(), 20u);
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_EQ(InfoOf(status).reason(), "TOO_MANY_STREAMS");
  EXPECT_EQ(InfoOf(status).metadata().at("limit"), "20");
  EXPECT_THAT(status.error_message(), HasSubstr("[limits] max_streams_per_caller"));
  EXPECT_TRUE(List().ok());

  // A wait, and a dialogue, are refused in their own ways.
  grpc::ClientContext waiting, talking;
  v1::WaitVmRequest wait;
  wait.set_name("vms/a");
  wait.add_target_states(v1::Vm::CREATED);
  v1::Vm vm;
  EXPECT_EQ(InfoOf(daemon_->vms().WaitVm(&waiting, wait, &vm)).reason(), "TOO_MANY_STREAMS");
  auto console = daemon_->vms().Console(&talking);
  v1::ConsoleRequest request;
  request.set_name("vms/a");
  console->Write(request);
  EXPECT_EQ(InfoOf(console->Finish()).reason(), "TOO_MANY_STREAMS");

  watches_.back()->context.TryCancel();
  watches_.pop_back();
  EXPECT_TRUE(WatchInTheEnd().ok());
}

TEST_F(Limits, WhoHasAsManyCallsUnderWayAsItMayIsTold) {
  Serve("max_calls_per_caller = 2\n");
  const pid_t worker = Run("a");
  Stop(worker);
  std::thread asking[] = {std::thread([&] { ReadRegisters("a"); }),
                          std::thread([&] { ReadRegisters("a"); })};
  grpc::Status status;
  for (const auto end = std::chrono::steady_clock::now() + kPatience;
       status.ok() && std::chrono::steady_clock::now() < end;) {
    grpc::ClientContext context;
    v1::HostInfo info;
    status = daemon_->host().GetHostInfo(&context, {}, &info);
  }
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_EQ(InfoOf(status).reason(), "TOO_MANY_CALLS");
  kill(worker, SIGCONT);
  for (std::thread& thread : asking) thread.join();
  while (!List().ok()) {  // when the daemon has seen their ends itself
  }
}

TEST_F(Limits, AThousandWatchesAndWaitsTakeNoThreads) {
  Serve("");
  ASSERT_TRUE(daemon_->CreateIdleVm("a").ok());
  while (!HasFailure() && watches_.size() < 1000) ASSERT_TRUE(WatchOnce().ok());
  EXPECT_LT(UseOf(daemon_->pid()).threads, 100u);
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  for (auto& watch : watches_) {
    v1::WatchVmEventsResponse response;
    ASSERT_TRUE(watch->stream->Read(&response));
    EXPECT_EQ(response.event().kind(), v1::VmEvent::STARTED);
  }
  for (auto& watch : watches_) watch->context.TryCancel();
}

TEST_F(Limits, AWaitForAVmThatIsDeletedEnds) {
  Serve("");
  ASSERT_TRUE(daemon_->CreateIdleVm("a").ok());
  v1::WaitVmRequest request;
  request.set_name("vms/a");
  request.add_target_states(v1::Vm::FAILED);
  grpc::ClientContext context;
  v1::Vm vm;
  grpc::Status status;
  std::thread waiting([&] { status = daemon_->vms().WaitVm(&context, request, &vm); });
  EXPECT_TRUE(daemon_->DeleteVm("a").ok());
  waiting.join();
  EXPECT_EQ(status.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(InfoOf(status).reason(), "VM_NOT_FOUND");
}

TEST_F(Limits, APeerThatIsGoneWithoutAWordIsLetGoOfWithItsStreams) {
  Serve("max_streams_per_caller = 1\nkeepalive_seconds = 1\nkeepalive_timeout_seconds = 1\n");
  ASSERT_TRUE(daemon_->CreateIdleVm("a").ok());
  SilentPeer peer(directory_ + "/d.sock", "/trapline.v1.Vms/WatchVmEvents");
  ASSERT_TRUE(peer.AwaitAnswer());
  EXPECT_EQ(InfoOf(WatchOnce()).reason(), "TOO_MANY_STREAMS") << "it has the only one";
  EXPECT_TRUE(peer.AwaitEnd());
  EXPECT_TRUE(WatchInTheEnd().ok());
}

}  // namespace
}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// Whatever moment the daemon or its machine ends at: what was acknowledged is there, what was under
// way is there whole or not at all, and events have no gap.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "daemon/control/store.h"
#include "tests/api/daemon_process.h"
#include "tests/common/scratch.h"
#include "tests/crash/scenario.h"

namespace trapline::daemon {
namespace {

namespace fs = std::filesystem;

constexpr int kStride = TRAPLINE_CRASH_STRIDE;
const std::vector<std::string> kLeave = {"--on-exit", "leave"};

// A daemon with state_faults.cc in it.
std::unique_ptr<DaemonProcess> StartWithFaults(const std::string& directory,
                                               std::map<std::string, std::string> faults) {
  faults["TRAPLINE_FAULTS_STATE"] = directory + "/state";
  faults["LD_PRELOAD"] = TRAPLINE_STATE_FAULTS;
  for (const auto& [name, value] : faults) setenv(name.c_str(), value.c_str(), 1);
  auto daemon = std::make_unique<DaemonProcess>(directory, kLeave);
  for (const auto& [name, value] : faults) unsetenv(name.c_str());
  return daemon;
}

struct Found {
  Kept vms;
  std::vector<v1::VmEvent::Kind> events;
};

Kept KeptOf(const std::vector<record::v1::VmRecord>& records) {
  Kept kept;
  for (const auto& record : records) {
    kept[record.vm().name().substr(4)] = {record.vm().labels().at("label"), record.vm().state(),
                                          record.policy().limit()};
  }
  return kept;
}

Found Read(const fs::path& state) {
  Found found;
  auto store = Store::Open(state / "vms.sqlite");
  EXPECT_TRUE(store.ok()) << store.status();
  if (!store.ok()) return found;
  auto records = (*store)->Records();
  auto events = (*store)->Events();
  EXPECT_TRUE(records.ok() && events.ok()) << records.status() << events.status();
  if (records.ok()) found.vms = KeptOf(records->records);
  if (events.ok()) {
    for (const v1::VmEvent& event : *events) {
      found.events.push_back(event.kind());
      EXPECT_EQ(event.sequence(), found.events.size());
    }
  }
  return found;
}

// done: how many of the steps had been acknowledged.
void Check(const std::vector<Step>& steps, size_t done, const Found& found) {
  const Kept before = done == 0 ? Kept() : steps[done - 1].after;
  const Kept after = done < steps.size() ? steps[done].after : before;
  EXPECT_TRUE(found.vms == before || found.vms == after)
      << "neither what was acknowledged, nor with \""
      << (done < steps.size() ? steps[done].what : "") << "\" as well";
  const size_t told = done == 0 ? 0 : steps[done - 1].events.size();
  EXPECT_GE(found.events.size(), told);
  for (size_t i = 0; i < found.events.size(); ++i)
    EXPECT_EQ(found.events[i], steps.back().events.at(i)) << "event " << i;
}

class Crash : public ::testing::Test {
 protected:
  // Runs the scenario once; the images of its points are under images_ then.
  void TakeImages() {
    fs::create_directory(images_ = directory_ + "/images");
    const std::string acked = directory_ + "/acked";
    auto daemon = StartWithFaults(
        directory_, {{"TRAPLINE_FAULTS_IMAGES", images_}, {"TRAPLINE_FAULTS_ACKED", acked}});
    daemon->KeepDirectory();
    size_t done = 0;
    std::ofstream(acked) << done;
    for (const Step& step : steps_) {
      const grpc::Status status = step.call(*daemon);
      ASSERT_TRUE(status.ok()) << step.what << ": " << status.error_message();
      std::ofstream(acked + ".new") << ++done;
      fs::rename(acked + ".new", acked);
    }
    EXPECT_EQ(daemon->Terminate(), 0);
    for (const auto& entry : fs::directory_iterator(images_)) {
      (void)entry;
      ++points_;
    }
  }
  size_t AckedAt(int point) {
    size_t done = 0;
    std::ifstream(images_ + "/" + std::to_string(point) + "/acked") >> done;
    return done;
  }

  const std::vector<Step> steps_ = Scenario();
  const Scratch scratch_;
  const std::string directory_ = scratch_.path();
  std::string images_;
  int points_ = 0;
};

TEST_F(Crash, EveryImageHasWhatWasAcknowledged) {
  ASSERT_NO_FATAL_FAILURE(TakeImages());
  EXPECT_GE(points_, 200);
  for (int point = 1; point <= points_; ++point) {
    for (const char* kind : {"killed", "cut", "torn"}) {
      SCOPED_TRACE("point " + std::to_string(point) + ", " + kind);
      Check(steps_, AckedAt(point), Read(images_ + "/" + std::to_string(point) + "/" + kind));
      if (HasFailure()) return;
    }
  }
}

// The whole daemon, on images of a machine that lost its power: no worker is left.
TEST_F(Crash, ADaemonStartsFromWhatAPowerLossLeft) {
  ASSERT_NO_FATAL_FAILURE(TakeImages());
  for (int point = 1; point <= points_; point += 2 * kStride) {
    SCOPED_TRACE("point " + std::to_string(point));
    const std::string image = directory_ + "/" + std::to_string(point);
    fs::create_directory(image);
    fs::copy(images_ + "/" + std::to_string(point) + "/torn", image + "/state");
    const Kept kept = Read(image + "/state").vms;
    DaemonProcess daemon(image);
    v1::ListVmsResponse list;
    grpc::ClientContext context;
    ASSERT_TRUE(daemon.vms().ListVms(&context, {}, &list).ok());
    EXPECT_EQ(static_cast<size_t>(list.vms_size()), kept.size());
    for (const v1::Vm& vm : list.vms()) {
      const KeptVm& before = kept.at(vm.name().substr(4));
      EXPECT_EQ(vm.labels().at("label"), before.label);
      EXPECT_EQ(vm.state(), before.state == v1::Vm::RUNNING ? v1::Vm::FAILED : before.state);
    }
  }
}

TEST_F(Crash, AKilledDaemonIsFollowedByOneThatFindsAll) {
  ASSERT_NO_FATAL_FAILURE(TakeImages());
  int first = 1;
  while (!fs::exists(images_ + "/" + std::to_string(first) + "/acked") ||
         fs::file_size(images_ + "/" + std::to_string(first) + "/acked") == 0)
    ++first;
  for (int point = first; point <= points_; point += kStride) {
    SCOPED_TRACE("point " + std::to_string(point));
    const std::string directory = directory_ + "/" + std::to_string(point);
    fs::create_directory(directory);
    auto daemon = StartWithFaults(directory, {{"TRAPLINE_FAULTS_KILL", std::to_string(point)}});
    daemon->KeepDirectory();
    size_t done = 0;
    while (done < steps_.size() && steps_[done].call(*daemon).ok()) ++done;
    daemon->Kill();
    daemon = std::make_unique<DaemonProcess>(directory, kLeave);
    daemon->KeepDirectory();
    v1::ListVmsResponse list;
    grpc::ClientContext context;
    ASSERT_TRUE(daemon->vms().ListVms(&context, {}, &list).ok());
    for (const v1::Vm& vm : list.vms()) EXPECT_NE(vm.state(), v1::Vm::FAILED) << vm.state_reason();
    size_t directories = 0;
    if (fs::exists(directory + "/run/vms")) {
      for (const auto& entry : fs::directory_iterator(directory + "/run/vms"))
        directories += fs::is_directory(entry);
    }
    EXPECT_EQ(directories, static_cast<size_t>(list.vms_size())) << "nothing is left of others";
    daemon->Kill();
    Check(steps_, done, Read(directory + "/state"));
    daemon = std::make_unique<DaemonProcess>(directory);  // which ends their workers
    for (const v1::Vm& vm : list.vms()) daemon->DeleteVm(vm.name().substr(4));
  }
}

}  // namespace
}  // namespace trapline::daemon

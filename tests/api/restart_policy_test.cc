// SPDX-License-Identifier: Apache-2.0
// VMs that end without having been asked to, and are started again: how often, and what prevents
// it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/api/daemon_process.h"
#include "tests/api/event_reader.h"

namespace trapline::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<std::string> kLeave = {"--on-exit", "leave"};
constexpr char kEndless[] = "calls=1000000000000";
constexpr int64_t kHour = 3600;

v1::RestartPolicy Policy(v1::RestartPolicy::When when, uint32_t most,
                         int64_t backoff_milliseconds = 1) {
  v1::RestartPolicy policy;
  policy.set_when(when);
  policy.set_max_restarts(most);
  policy.mutable_initial_backoff()->set_seconds(backoff_milliseconds / 1000);
  policy.mutable_initial_backoff()->set_nanos(
      static_cast<int32_t>(backoff_milliseconds % 1000 * 1'000'000));
  return policy;
}

class Restart : public ::testing::Test {
 protected:
  ~Restart() override {
    for (const char* id : {"a"}) daemon_->DeleteVm(id);
  }
  grpc::Status Create(const std::string& guest, const std::string& append,
                      const v1::RestartPolicy& policy) {
    v1::CreateVmRequest request;
    request.set_vm_id("a");
    auto* spec = request.mutable_vm()->mutable_spec();
    spec->set_kernel_path(TRAPLINE_GUESTS_DIR "/" + guest + ".elf");
    spec->set_command_line(append);
    spec->set_memory_bytes(16 << 20);
    spec->set_engine(v1::ENGINE_SOFT);
    *spec->mutable_restart() = policy;
    v1::Vm vm;
    grpc::ClientContext context;
    return daemon_->vms().CreateVm(&context, request, &vm);
  }
  void Run(const std::string& guest, const std::string& append, const v1::RestartPolicy& policy) {
    ASSERT_TRUE(Create(guest, append, policy).ok());
    ASSERT_TRUE(daemon_->StartVm("a").ok());
  }
  void KillWorker() {
    const std::vector<pid_t> workers = daemon_->Children("trapline-vmm");
    ASSERT_EQ(workers.size(), 1u);
    kill(workers.front(), SIGKILL);
  }
  void Anew() {
    daemon_->KeepDirectory();
    daemon_->Kill();
    daemon_ = std::make_unique<DaemonProcess>(daemon_->directory(), kLeave);
  }

  std::unique_ptr<DaemonProcess> daemon_ = std::make_unique<DaemonProcess>("", kLeave);
};

TEST_F(Restart, AKilledWorkerIsAFailureThatIsMendedUntilTheLimit) {
  EventReader events(*daemon_);
  Run("hello", kEndless, Policy(v1::RestartPolicy::ON_FAILURE, 2));
  events.Until(v1::VmEvent::STARTED);
  for (uint32_t restart = 1; restart <= 2; ++restart) {
    KillWorker();
    const std::vector<v1::VmEvent> seen = events.Until(v1::VmEvent::STARTED);
    ASSERT_EQ(seen.size(), 3u);
    EXPECT_EQ(seen[0].kind(), v1::VmEvent::FAILED);
    EXPECT_THAT(seen[0].reason(), HasSubstr("killed by signal 9"));
    EXPECT_EQ(seen[1].kind(), v1::VmEvent::RESTART_PENDING);
    EXPECT_THAT(seen[1].reason(), HasSubstr("in " + std::to_string(restart) + "ms")) << "doubled";
    EXPECT_EQ(daemon_->GetVm("a").restart_count(), restart);
    EXPECT_FALSE(daemon_->GetVm("a").has_next_start_time());
    daemon_->AwaitVm("a", v1::Vm::RUNNING);
  }
  KillWorker();
  EXPECT_THAT(events.KindsUntil(v1::VmEvent::RESTART_GIVEN_UP),
              ElementsAre(v1::VmEvent::FAILED, v1::VmEvent::RESTART_GIVEN_UP));
  const v1::Vm vm = daemon_->GetVm("a");
  EXPECT_EQ(vm.state(), v1::Vm::FAILED);
  EXPECT_THAT(vm.state_reason(), HasSubstr("killed by signal 9"));
  EXPECT_THAT(vm.state_reason(), HasSubstr("2 restarts in a row did not help"));
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  EXPECT_EQ(daemon_->GetVm("a").restart_count(), 0u) << "counted anew";
}

TEST_F(Restart, AGuestThatBreaksDownAgainAndAgainIsGivenUp) {
  EventReader events(*daemon_);
  Run("faults", "taken-back", Policy(v1::RestartPolicy::ON_FAILURE, 1));
  events.Until(v1::VmEvent::CREATED);
  EXPECT_THAT(
      events.KindsUntil(v1::VmEvent::RESTART_GIVEN_UP),
      ElementsAre(v1::VmEvent::STARTED, v1::VmEvent::TRIPLE_FAULT, v1::VmEvent::FAILED,
                  v1::VmEvent::RESTART_PENDING, v1::VmEvent::STARTED, v1::VmEvent::TRIPLE_FAULT,
                  v1::VmEvent::FAILED, v1::VmEvent::RESTART_GIVEN_UP));
  EXPECT_NE(daemon_->GetVm("a").failure_report(), "");
}

TEST_F(Restart, ARunThatLastedIsNotCounted) {
  EventReader events(*daemon_);
  v1::RestartPolicy policy = Policy(v1::RestartPolicy::ON_FAILURE, 1);
  policy.mutable_stable_after();  // at once
  Run("hello", kEndless, policy);
  events.Until(v1::VmEvent::STARTED);
  for (int restart = 0; restart < 3; ++restart) {
    KillWorker();
    events.Until(v1::VmEvent::STARTED);
    EXPECT_EQ(daemon_->AwaitVm("a", v1::Vm::RUNNING).restart_count(), 1u);
  }
}

TEST_F(Restart, OnFailureIsAlsoAStatusOtherThanZeroButNoCleanEnd) {
  EventReader events(*daemon_);
  Run("hello", "status=3", Policy(v1::RestartPolicy::ON_FAILURE, 1));
  const std::vector<v1::VmEvent> seen = events.Until(v1::VmEvent::RESTART_GIVEN_UP);
  EXPECT_EQ(std::count_if(seen.begin(), seen.end(),
                          [](const auto& e) { return e.kind() == v1::VmEvent::GUEST_EXIT; }),
            2);
  ASSERT_TRUE(daemon_->DeleteVm("a").ok());
  Run("hello", "", Policy(v1::RestartPolicy::ON_FAILURE, 1));
  daemon_->AwaitVm("a", v1::Vm::STOPPED);
  EXPECT_FALSE(daemon_->GetVm("a").has_next_start_time());
}

TEST_F(Restart, AlwaysIsAfterACleanEndTooButNotWhenStopped) {
  EventReader events(*daemon_);
  Run("hello", "", Policy(v1::RestartPolicy::ALWAYS, 2));
  events.Until(v1::VmEvent::RESTART_GIVEN_UP);
  EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::STOPPED);
  ASSERT_TRUE(daemon_->DeleteVm("a").ok());
  Run("hello", kEndless, Policy(v1::RestartPolicy::ALWAYS, 2));
  ASSERT_TRUE(daemon_->StopVm("a").ok());
  EXPECT_FALSE(daemon_->GetVm("a").has_next_start_time());
  EXPECT_EQ(daemon_->GetVm("a").state_reason(), "stopped on request");
}

TEST_F(Restart, WhatIsToComeIsCalledOffByAStop) {
  EventReader events(*daemon_);
  Run("hello", kEndless, Policy(v1::RestartPolicy::ON_FAILURE, 0, kHour * 1000));
  KillWorker();
  events.Until(v1::VmEvent::RESTART_PENDING);
  EXPECT_TRUE(daemon_->GetVm("a").has_next_start_time());
  ASSERT_TRUE(daemon_->StopVm("a").ok());
  EXPECT_EQ(events.Next().kind(), v1::VmEvent::RESTART_GIVEN_UP);
  EXPECT_FALSE(daemon_->GetVm("a").has_next_start_time());
  Anew();
  EXPECT_FALSE(daemon_->GetVm("a").has_next_start_time());
}

TEST_F(Restart, WhatIsToComeAndItsCountOutliveTheDaemon) {
  EventReader events(*daemon_);
  v1::RestartPolicy policy = Policy(v1::RestartPolicy::ON_FAILURE, 2);
  Run("hello", kEndless, policy);
  events.Until(v1::VmEvent::STARTED);
  KillWorker();
  events.Until(v1::VmEvent::STARTED);
  daemon_->AwaitVm("a", v1::Vm::RUNNING);
  const pid_t worker = daemon_->Children("trapline-vmm").at(0);
  daemon_->KeepDirectory();
  daemon_->Kill();
  kill(worker, SIGKILL);
  daemon_ = std::make_unique<DaemonProcess>(daemon_->directory(), kLeave);
  daemon_->AwaitVm("a", v1::Vm::RUNNING);
  EXPECT_EQ(daemon_->GetVm("a").restart_count(), 2u);
  ASSERT_TRUE(daemon_->DeleteVm("a").ok());

  EventReader more(*daemon_);
  Run("hello", kEndless, Policy(v1::RestartPolicy::ON_FAILURE, 0, kHour * 1000));
  KillWorker();
  more.Until(v1::VmEvent::RESTART_PENDING);
  const v1::Vm before = daemon_->GetVm("a");
  Anew();
  EXPECT_EQ(daemon_->GetVm("a").next_start_time().seconds(), before.next_start_time().seconds());
  EXPECT_EQ(daemon_->GetVm("a").state_reason(), before.state_reason());
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  EXPECT_FALSE(daemon_->GetVm("a").has_next_start_time());
}

TEST_F(Restart, AWrongPolicyIsRefusedByItsField) {
  v1::RestartPolicy policy = Policy(v1::RestartPolicy::ALWAYS, 0, 0);
  EXPECT_THAT(Create("hello", "", policy).error_message(),
              HasSubstr("vm.spec.restart.initial_backoff"));
  policy = Policy(v1::RestartPolicy::ALWAYS, 0, 1000);
  policy.mutable_max_backoff()->set_nanos(1);
  EXPECT_THAT(Create("hello", "", policy).error_message(),
              HasSubstr("vm.spec.restart.max_backoff"));
}

}  // namespace
}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// What is still to be had of a VM whose guest broke down, whose worker is gone, or whose daemon was
// started anew.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "tests/api/daemon_process.h"

namespace trapline::daemon {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class PostMortem : public ::testing::Test {
 protected:
  // What the daemon would leave running is ended.
  ~PostMortem() override {
    for (pid_t worker : daemon_->Children("trapline-vmm")) kill(worker, SIGKILL);
  }
  grpc::Status Create(const std::string& id, const std::string& guest, const std::string& append) {
    return daemon_->CreateVm(id, guest, append, v1::ENGINE_SOFT);
  }
  v1::Vm Get(const std::string& id) {
    v1::GetVmRequest request;
    request.set_name("vms/" + id);
    v1::Vm vm;
    grpc::ClientContext context;
    EXPECT_TRUE(daemon_->vms().GetVm(&context, request, &vm).ok());
    return vm;
  }
  void Await(const std::string& id, v1::Vm::State state) {
    ASSERT_EQ(daemon_->AwaitVm(id, state).state(), state);
  }
  v1::ListSitesResponse Sites(const std::string& id) {
    v1::ListSitesRequest request;
    request.set_parent("vms/" + id);
    v1::ListSitesResponse response;
    grpc::ClientContext context;
    const grpc::Status status = daemon_->sites().ListSites(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  // A VM whose guest made two hypercalls and then wrote where nothing is.
  void BreakDown(const std::string& id) {
    ASSERT_TRUE(Create(id, "faults", "taken-back").ok());
    ASSERT_TRUE(daemon_->StartVm(id).ok());
    Await(id, v1::Vm::FAILED);
  }
  pid_t OnlyWorker() {
    const std::vector<pid_t> workers = daemon_->Children("trapline-vmm");
    EXPECT_THAT(workers, SizeIs(1));
    return workers.empty() ? 0 : workers.front();
  }
  // Kills it and waits until it is dead, whosever child it is.
  static void KillAndWait(pid_t pid) {
    const base::UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    ASSERT_GE(process.get(), 0);
    ASSERT_EQ(kill(pid, SIGKILL), 0);
    pollfd ended{process.get(), POLLIN, 0};
    ASSERT_EQ(poll(&ended, 1, 30000), 1);
  }
  // Ends the daemon, its workers running on.
  void EndDaemon() {
    daemon_->KeepDirectory();
    EXPECT_EQ(daemon_->Terminate(), 0);
  }
  void StartDaemonAnew() {
    daemon_ = std::make_unique<DaemonProcess>(daemon_->directory(), kLeave);
  }

  const std::vector<std::string> kLeave = {"--on-exit", "leave"};
  std::unique_ptr<DaemonProcess> daemon_ = std::make_unique<DaemonProcess>("", kLeave);
};

TEST_F(PostMortem, AFailedVmSaysWhereItsGuestWas) {
  BreakDown("a");
  const v1::Vm vm = Get("a");
  EXPECT_THAT(vm.failure_report(), HasSubstr(vm.state_reason())) << "its first line";
  EXPECT_THAT(vm.failure_report(), HasSubstr("rip")) << "the registers";
  EXPECT_THAT(vm.failure_report(), HasSubstr("WriteNull")) << "the code";
  EXPECT_THAT(Sites("a").sites(), Not(IsEmpty()));
}

TEST_F(PostMortem, TheReportIsForThoseWhoAskForOneVm) {
  BreakDown("a");
  v1::ListVmsResponse list;
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_->vms().ListVms(&context, v1::ListVmsRequest(), &list).ok());
  ASSERT_EQ(list.vms_size(), 1);
  EXPECT_THAT(list.vms(0).failure_report(), IsEmpty());
}

TEST_F(PostMortem, TheReportOutlivesTheWorker) {
  BreakDown("a");
  const v1::Vm before = Get("a");
  KillAndWait(OnlyWorker());
  while (Get("a").state_reason().find("the worker was lost") == std::string::npos) {
  }
  EXPECT_EQ(Get("a").failure_report(), before.failure_report());
  EXPECT_THAT(Get("a").state_reason(), HasSubstr(before.state_reason())) << "why it failed";
  EXPECT_THAT(Sites("a").sites(), Not(IsEmpty()));
}

TEST_F(PostMortem, AWorkerThatIsKilledLeavesNoReportButItsReason) {
  ASSERT_TRUE(Create("a", "hello", "calls=1000000000000").ok());
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  KillAndWait(OnlyWorker());
  Await("a", v1::Vm::FAILED);
  EXPECT_THAT(Get("a").state_reason(), HasSubstr("killed by signal 9"));
  EXPECT_THAT(Get("a").failure_report(), IsEmpty());
}

TEST_F(PostMortem, AnAdoptedVmHasItsSitesAndItsReport) {
  BreakDown("a");
  const v1::Vm before = Get("a");
  const pid_t worker = OnlyWorker();
  EndDaemon();
  StartDaemonAnew();
  const v1::Vm after = Get("a");
  EXPECT_EQ(after.state(), v1::Vm::FAILED);
  EXPECT_EQ(after.state_reason(), before.state_reason());
  EXPECT_EQ(after.failure_report(), before.failure_report());
  EXPECT_THAT(Sites("a").sites(), Not(IsEmpty()));
  KillAndWait(worker);
}

TEST_F(PostMortem, SitesAreThereWhenBothWorkerAndDaemonWentAway) {
  ASSERT_TRUE(Create("a", "hello", "calls=1000000000000").ok());
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  while (Sites("a").sites().empty()) {
  }
  const pid_t worker = OnlyWorker();
  EndDaemon();
  KillAndWait(worker);
  StartDaemonAnew();
  EXPECT_EQ(Get("a").state(), v1::Vm::FAILED);
  EXPECT_THAT(Get("a").state_reason(), HasSubstr("lost while no daemon ran"));
  ASSERT_THAT(Sites("a").sites(), Not(IsEmpty()));
  EXPECT_GT(Sites("a").sites(0).traps(), 0u);
}

}  // namespace
}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// What is there again after the daemon was killed, upgraded, or gone for a while: VMs, what they
// did meanwhile, events, console, policies, answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/base/unique_fd.h"
#include "daemon/common/worker_protocol.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/server_builder.h"
#include "tests/api/daemon_process.h"
#include "tests/api/event_reader.h"
#include "tests/common/error_info.h"
#include "trapline/worker/v1/worker.grpc.pb.h"

namespace trapline::daemon {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kLeave = {"--on-exit", "leave"};
constexpr char kEndless[] = "calls=1000000000000";

class Survival : public ::testing::Test {
 protected:
  ~Survival() override {
    for (const char* id : {"a", "b"}) daemon_->DeleteVm(id);
  }
  void Run(const std::string& id, const std::string& append) {
    ASSERT_TRUE(daemon_->CreateVm(id, "hello", append, v1::ENGINE_SOFT).ok());
    ASSERT_TRUE(daemon_->StartVm(id).ok());
  }
  pid_t OnlyWorker() {
    const std::vector<pid_t> workers = daemon_->Children("trapline-vmm");
    EXPECT_EQ(workers.size(), 1u);
    return workers.empty() ? 0 : workers.front();
  }
  void KillDaemon() {
    daemon_->KeepDirectory();
    daemon_->Kill();
  }
  void StartDaemon() { daemon_ = std::make_unique<DaemonProcess>(daemon_->directory(), kLeave); }
  std::string WorkerSocket(const std::string& id) {
    return daemon_->directory() + "/run/vms/" + id + "/vmm.sock";
  }
  // Waits until the worker of a VM, which no daemon follows, says that it is over.
  void AwaitOver(const std::string& id) {
    auto stub = worker::v1::Worker::NewStub(
        grpc::CreateChannel("unix:" + WorkerSocket(id), grpc::InsecureChannelCredentials()));
    worker::v1::Status status;
    do {
      grpc::ClientContext context;
      context.set_wait_for_ready(true);
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
      ASSERT_TRUE(stub->GetStatus(&context, {}, &status).ok());
    } while (status.state() != v1::Vm::STOPPED);
  }

  // In the state directory that no daemon uses.
  void Change(const char* sql) {
    sqlite3* db = nullptr;
    const std::string path = daemon_->directory() + "/state/vms.sqlite";
    ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    EXPECT_EQ(sqlite3_changes(db), 1);
    sqlite3_close(db);
  }

  std::unique_ptr<DaemonProcess> daemon_ = std::make_unique<DaemonProcess>("", kLeave);
};

TEST_F(Survival, EventsOfBeforeAndMeanwhileAreToldOnceByTheNextDaemon) {
  EventReader events(*daemon_);
  Run("a", "calls=1000000 status=4");
  const pid_t worker = OnlyWorker();
  kill(worker, SIGSTOP);  // its guest is to end when no daemon is there
  events.Until(v1::VmEvent::CREATED);
  const std::string token = events.token();
  KillDaemon();
  kill(worker, SIGCONT);
  AwaitOver("a");
  StartDaemon();
  EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::STOPPED);
  EXPECT_EQ(daemon_->GetVm("a").exit_status(), 4 << 1 | 1);
  for (int again = 0; again < 2; ++again) {
    EventReader more(*daemon_, token);
    const std::vector<v1::VmEvent> seen = more.Until(v1::VmEvent::STOPPED);
    ASSERT_EQ(seen.size(), 3u);
    EXPECT_EQ(seen[0].kind(), v1::VmEvent::STARTED);
    EXPECT_EQ(seen[1].kind(), v1::VmEvent::GUEST_EXIT);
    for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i].sequence(), i + 2);
    KillDaemon();
    StartDaemon();
  }
}

TEST_F(Survival, TheConsoleOfBeforeAndMeanwhileIsThere) {
  Run("a", "calls=1000000");
  const pid_t worker = OnlyWorker();
  kill(worker, SIGSTOP);
  KillDaemon();
  kill(worker, SIGCONT);
  AwaitOver("a");
  StartDaemon();
  const std::string said = daemon_->ConsoleUntil("a", "hello by hypercall");
  EXPECT_THAT(said, HasSubstr("hello from a guest"));
  EXPECT_EQ(said.find("hello from a guest"), said.rfind("hello from a guest")) << "once";
}

TEST_F(Survival, AFailureReportOutlivesWorkerAndDaemon) {
  ASSERT_TRUE(daemon_->CreateVm("a", "faults", "taken-back", v1::ENGINE_SOFT).ok());
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  daemon_->AwaitVm("a", v1::Vm::FAILED);
  const v1::Vm before = daemon_->GetVm("a");
  const pid_t worker = OnlyWorker();
  KillDaemon();
  kill(worker, SIGKILL);
  StartDaemon();
  EXPECT_EQ(daemon_->GetVm("a").failure_report(), before.failure_report());
  EXPECT_EQ(daemon_->GetVm("a").state_reason(), before.state_reason());
}

TEST_F(Survival, AWorkerThatIsKilledMeanwhileIsAFailure) {
  Run("a", kEndless);
  EventReader events(*daemon_);
  ASSERT_TRUE(daemon_->CreateVm("b", "hello", "", v1::ENGINE_SOFT).ok());
  EXPECT_EQ(events.Next().kind(), v1::VmEvent::CREATED);
  const std::vector<pid_t> workers = daemon_->Children("trapline-vmm");
  KillDaemon();
  for (pid_t worker : workers) kill(worker, SIGKILL);
  StartDaemon();
  EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::FAILED);
  EXPECT_THAT(daemon_->GetVm("a").state_reason(), HasSubstr("lost while no daemon ran"));
  EXPECT_EQ(daemon_->GetVm("b").state(), v1::Vm::CREATED) << "it had nothing to lose";
  EventReader more(*daemon_, events.token());
  EXPECT_EQ(more.Next().kind(), v1::VmEvent::FAILED);
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  ASSERT_TRUE(daemon_->StartVm("b").ok());
}

TEST_F(Survival, AWorkerThatDoesNotAnswerIsNotReplaced) {
  Run("a", kEndless);
  const pid_t worker = OnlyWorker();
  KillDaemon();
  kill(worker, SIGSTOP);
  StartDaemon();
  EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::RUNNING);
  kill(worker, SIGCONT);
  const grpc::Status stopped = daemon_->StopVm("a");
  EXPECT_TRUE(stopped.ok()) << stopped.error_message();
  EXPECT_EQ(daemon_->GetVm("a").state_reason(), "stopped on request");
  EXPECT_EQ(kill(worker, 0), 0);
}

TEST_F(Survival, ARetryOfACreationFindsTheVmThatTheKilledDaemonMade) {
  v1::CreateVmRequest request;
  request.set_vm_id("a");
  request.set_request_id("request-1");
  request.mutable_vm()->mutable_spec()->set_kernel_path(TRAPLINE_GUESTS_DIR "/hello.elf");
  (*request.mutable_vm()->mutable_labels())["tier"] = "web";
  auto create = [&](v1::Vm* vm) {
    grpc::ClientContext context;
    return daemon_->vms().CreateVm(&context, request, vm);
  };
  v1::Vm first, second;
  ASSERT_TRUE(create(&first).ok());
  KillDaemon();
  StartDaemon();
  ASSERT_TRUE(create(&second).ok());
  EXPECT_EQ(first.uid(), second.uid());
  EXPECT_EQ(second.labels().at("tier"), "web");
  request.set_request_id("request-2");
  EXPECT_EQ(create(&second).error_code(), grpc::ALREADY_EXISTS);
}

TEST_F(Survival, PoliciesHoldForTheNextWorkerAndTheNextDaemon) {
  Run("a", kEndless);
  v1::ListSitesRequest list;
  list.set_parent("vms/a");
  auto site = [&] {
    v1::ListSitesResponse sites;
    do {
      grpc::ClientContext context;
      EXPECT_TRUE(daemon_->sites().ListSites(&context, list, &sites).ok());
    } while (sites.sites().empty());
    return sites.sites(0);
  };
  auto set = [&](const std::string& name, v1::Technique limit) {
    v1::SetPolicyRequest request;
    request.set_name(name);
    request.mutable_policy()->set_limit(limit);
    v1::Policy policy;
    grpc::ClientContext context;
    return daemon_->sites().SetPolicy(&context, request, &policy);
  };
  ASSERT_TRUE(set("vms/a", v1::TECHNIQUE_INTERRUPT).ok());
  ASSERT_TRUE(set(site().name(), v1::TECHNIQUE_EMULATE).ok());
  const pid_t worker = OnlyWorker();
  KillDaemon();
  kill(worker, SIGKILL);
  StartDaemon();
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  v1::GetPolicyRequest get;
  get.set_name("vms/a");
  v1::Policy policy;
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_->sites().GetPolicy(&context, get, &policy).ok());
  EXPECT_EQ(policy.limit(), v1::TECHNIQUE_INTERRUPT);
  while (site().traps() == 0) {
  }
  EXPECT_EQ(site().state(), v1::Site::PINNED);
}

TEST_F(Survival, AWatchOfSitesGoesOnWithTheNextDaemonUntilTheWorkerIsAnother) {
  Run("a", kEndless);
  v1::WatchSitesRequest request;
  request.set_parent("vms/a");
  request.mutable_interval()->set_nanos(50'000'000);
  v1::WatchSitesResponse response;
  grpc::ClientContext first, second, third;
  auto watch = daemon_->sites().WatchSites(&first, request);
  do {
    ASSERT_TRUE(watch->Read(&response));
  } while (response.sites().empty() || response.more());
  request.set_resume_token(response.resume_token());
  const uint64_t revision = response.revision();
  first.TryCancel();
  const pid_t worker = OnlyWorker();
  KillDaemon();
  StartDaemon();
  watch = daemon_->sites().WatchSites(&second, request);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_FALSE(response.snapshot());
  EXPECT_GT(response.revision(), revision);
  second.TryCancel();
  kill(worker, SIGKILL);
  daemon_->AwaitVm("a", v1::Vm::FAILED);
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  watch = daemon_->sites().WatchSites(&third, request);
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(watch->Finish().error_code(), grpc::OUT_OF_RANGE);
}

// The same file name, another file: what a package manager does.
TEST_F(Survival, VmsRunOnOverAnUpgrade) {
  namespace fs = std::filesystem;
  const std::string bin = daemon_->directory() + "/bin", program = bin + "/traplined";
  auto install = [&] {
    fs::create_directories(bin);
    for (const char* built : {TRAPLINED, TRAPLINE_VMM}) {
      const fs::path to = bin / fs::path(built).filename(), staged = bin + "/staged";
      fs::copy_file(built, staged);
      fs::rename(staged, to);
    }
  };
  daemon_->KeepDirectory();
  EXPECT_EQ(daemon_->Terminate(), 0);
  install();
  daemon_ = std::make_unique<DaemonProcess>(daemon_->directory(), kLeave, program);
  Run("a", kEndless);
  const pid_t worker = OnlyWorker();
  install();
  ASSERT_TRUE(daemon_->CreateVm("b", "hello", kEndless, v1::ENGINE_SOFT).ok())
      << "by the new worker program";
  daemon_->KeepDirectory();
  EXPECT_EQ(daemon_->Terminate(), 0);
  daemon_ = std::make_unique<DaemonProcess>(daemon_->directory(), kLeave, program);
  EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::RUNNING);
  EXPECT_EQ(daemon_->GetVm("b").state(), v1::Vm::CREATED);
  EXPECT_EQ(kill(worker, 0), 0);
  EXPECT_TRUE(daemon_->StartVm("b").ok());
  EXPECT_TRUE(daemon_->StopVm("a").ok());
  EXPECT_TRUE(daemon_->StartVm("a").ok());
}

TEST_F(Survival, ADamagedRecordIsKeptAndItsNameNotGivenAway) {
  Run("a", kEndless);
  const base::UniqueFd worker(static_cast<int>(syscall(SYS_pidfd_open, OnlyWorker(), 0)));
  ASSERT_TRUE(worker.valid());
  auto worker_ended = [&] {
    pollfd ended{worker.get(), POLLIN, 0};
    return poll(&ended, 1, 0) == 1;
  };
  Run("b", kEndless);
  KillDaemon();
  Change("UPDATE records SET record = x'ffffff' WHERE name = 'vms/a'");
  for (int again = 0; again < 2; ++again) {
    StartDaemon();
    EXPECT_THAT(daemon_->Log(), HasSubstr("a VM's record is damaged"));
    EXPECT_EQ(daemon_->GetVm("b").state(), v1::Vm::RUNNING);
    const grpc::Status taken = daemon_->CreateVm("a", "hello", kEndless, v1::ENGINE_SOFT);
    EXPECT_EQ(taken.error_code(), grpc::ALREADY_EXISTS);
    EXPECT_THAT(taken.error_message(), HasSubstr("damaged"));
    EXPECT_EQ(daemon_->StartVm("a").error_code(), grpc::DATA_LOSS);
    EXPECT_FALSE(worker_ended());
    KillDaemon();
  }
  StartDaemon();
  EXPECT_TRUE(daemon_->DeleteVm("a").ok()) << "by force, as that is";
  EXPECT_TRUE(worker_ended());
  Run("a", kEndless);
}

// A worker of a build that is yet to come.
class FutureWorker final : public worker::v1::Worker::Service {
 public:
  grpc::Status GetStatus(grpc::ServerContext*, const google::protobuf::Empty*,
                         worker::v1::Status* status) override {
    status->set_state(v1::Vm::RUNNING);
    status->set_reason("started");
    status->set_protocol(kWorkerProtocol + 1);
    return grpc::Status::OK;
  }
};

TEST_F(Survival, AWorkerOfAnotherProtocolIsLeftAloneAndSaidToBe) {
  Run("a", kEndless);
  const pid_t worker = OnlyWorker();
  KillDaemon();
  kill(worker, SIGKILL);
  std::filesystem::remove(WorkerSocket("a"));
  FutureWorker future;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + WorkerSocket("a"), grpc::InsecureServerCredentials());
  builder.RegisterService(&future);
  auto server = builder.BuildAndStart();
  StartDaemon();
  EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::RUNNING);
  EXPECT_THAT(daemon_->GetVm("a").state_reason(), HasSubstr("a newer build"));
  const grpc::Status status = daemon_->StopVm("a");
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_EQ(InfoOf(status).reason(), "WORKER_OF_ANOTHER_BUILD");
  // It is this process: the next daemon finds it gone, and deletes the VM.
  KillDaemon();
  server->Shutdown();
  StartDaemon();
  EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::FAILED);
}

}  // namespace
}  // namespace trapline::daemon

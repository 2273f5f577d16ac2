// SPDX-License-Identifier: Apache-2.0
// No room on a disk, no descriptors, no threads: an error that says so, everything else goes on,
// and what was refused works once there is room again, without a restart.
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/api/daemon_process.h"
#include "tests/api/event_reader.h"
#include "tests/api/no_descriptors.h"
#include "tests/common/scratch.h"
#include "tests/load/process_use.h"

namespace trapline::daemon {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr char kEndless[] = "calls=1000000000000";

// A small file system of its own under the name of a directory that daemons use, and a file that
// takes all its room.
class SmallDisk {
 public:
  SmallDisk(const std::string& path, const char* size) : path_(path) {
    std::filesystem::create_directories(path);
    error_ =
        unshare(CLONE_NEWNS) != 0 ||
                mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
                mount("tmpfs", path.c_str(), "tmpfs", 0, (std::string("size=") + size).c_str()) != 0
            ? errno
            : 0;
  }
  ~SmallDisk() { umount2(path_.c_str(), MNT_DETACH); }
  // Nothing: it is there.
  std::string WhyNot() const {
    return error_ == 0 ? "" : std::string("no file system may be mounted: ") + strerror(error_);
  }
  void Fill() {
    std::ofstream file(path_ + "/filler", std::ios::app);
    while (file << std::string(4096, 'x') << std::flush) {
    }
    file.clear();
    while (file << 'x' << std::flush) {
    }
  }
  void MakeRoom() { std::filesystem::remove(path_ + "/filler"); }

 private:
  const std::string path_;
  int error_ = 0;
};

class Exhaustion : public ::testing::Test {
 protected:
  void Serve() {
    daemon_ = std::make_unique<DaemonProcess>(directory_);
    daemon_->KeepDirectory();
  }
  grpc::Status Create(const std::string& id) {
    return daemon_->CreateVm(id, "hello", kEndless, v1::ENGINE_SOFT);
  }
  void Run(const std::string& id) {
    ASSERT_TRUE(Create(id).ok());
    ASSERT_TRUE(daemon_->StartVm(id).ok());
  }

  const Scratch scratch_;
  const std::string directory_ = scratch_.path();
  std::unique_ptr<DaemonProcess> daemon_;
};

TEST_F(Exhaustion, AFullStateDirectoryRefusesWhatIsNewAndOwesWhatHappens) {
  SmallDisk disk(directory_ + "/state", "1m");
  if (!disk.WhyNot().empty()) GTEST_SKIP() << disk.WhyNot();
  Serve();
  Run("a");
  EventReader events(*daemon_);
  disk.Fill();
  // What the database has of its own room may hold a few more.
  grpc::Status refused;
  int made = 0;
  while (refused.ok() && made < 100) refused = Create("new-" + std::to_string(made++));
  EXPECT_EQ(refused.error_code(), grpc::RESOURCE_EXHAUSTED) << refused.error_message();
  EXPECT_THAT(refused.error_message(), HasSubstr("make room"));
  const std::string last = "new-" + std::to_string(made - 1);
  EXPECT_EQ(daemon_->GetVm(last).name(), "") << "nothing is left of it";
  EXPECT_TRUE(daemon_->StopVm("a").ok());
  events.Until(v1::VmEvent::STOPPED);
  EXPECT_TRUE(daemon_->StartVm("a").ok());
  events.Until(v1::VmEvent::STARTED);
  disk.MakeRoom();
  EXPECT_TRUE(Create(last).ok());
  EXPECT_EQ(events.Until(v1::VmEvent::CREATED).back().vm(), "vms/" + last);
  const std::string token = events.token();
  daemon_->Terminate();
  daemon_ = nullptr;
  Serve();
  EventReader more(*daemon_, token);
  EXPECT_EQ(more.Next().kind(), v1::VmEvent::STOPPED) << "all before it was kept, too";
}

TEST_F(Exhaustion, AFullRunDirectoryEndsNeitherWorkerNorDaemon) {
  SmallDisk disk(directory_ + "/run", "8m");
  if (!disk.WhyNot().empty()) GTEST_SKIP() << disk.WhyNot();
  Serve();
  Run("a");
  disk.Fill();
  const grpc::Status refused = Create("b");
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(refused.error_message(), HasSubstr("No space left on device"));
  // All that is read of the stats file, the parts that have no room yet too.
  v1::ListSitesRequest list;
  list.set_parent("vms/a");
  v1::ListSitesResponse sites;
  grpc::ClientContext listing, tracing, watching;
  EXPECT_TRUE(daemon_->sites().ListSites(&listing, list, &sites).ok());
  v1::StreamHypercallsRequest trace;
  trace.set_parent("vms/a");
  v1::StreamHypercallsResponse records;
  auto traced = daemon_->traces().StreamHypercalls(&tracing, trace);
  EXPECT_FALSE(traced->Read(&records));
  EXPECT_EQ(traced->Finish().error_code(), grpc::RESOURCE_EXHAUSTED);
  v1::WatchSitesRequest watch;
  watch.set_parent("vms/a");
  v1::WatchSitesResponse update;
  auto watched = daemon_->sites().WatchSites(&watching, watch);
  EXPECT_TRUE(watched->Read(&update)) << "revisions are in memory then";
  watching.TryCancel();
  EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::RUNNING);
  disk.MakeRoom();
  EXPECT_TRUE(Create("b").ok());
  EXPECT_TRUE(daemon_->StartVm("b").ok());
}

TEST_F(Exhaustion, WithoutDescriptorsVmsRunOnAndMoreAreMadeLater) {
#ifdef TRAPLINE_SANITIZED
  GTEST_SKIP() << "the sanitizer takes a pipe to look at an object's type";
#endif
  Serve();
  Run("a");
  {
    NoDescriptors limit(daemon_->pid());
    const grpc::Status refused = Create("b");
    EXPECT_FALSE(refused.ok());
    EXPECT_THAT(refused.error_message(), HasSubstr("Too many open files"));
    EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::RUNNING);
    EXPECT_TRUE(daemon_->StopVm("a").ok());
  }
  EXPECT_TRUE(Create("b").ok());
  EXPECT_TRUE(daemon_->StartVm("b").ok());
}

// A worker program under a limit of so many KiB of address space.
class LimitedWorkers : public Exhaustion {
 protected:
  void SetUp() override {
#ifdef TRAPLINE_SANITIZED
    GTEST_SKIP() << "the address sanitizer's shadow fits within no such limit";
#endif
  }
  void ServeWithin(int kib) {
    const std::string script = directory_ + "/trapline-vmm";
    std::ofstream(script) << "#!/bin/sh\nulimit -v " << kib << "\nexec " TRAPLINE_VMM " \"$@\"\n";
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
    daemon_ =
        std::make_unique<DaemonProcess>(directory_, std::vector<std::string>{"--vmm-path", script});
    daemon_->KeepDirectory();
  }
  grpc::Status Create(uint32_t vcpus, uint64_t memory) {
    v1::CreateVmRequest request;
    request.set_vm_id("big");
    auto* spec = request.mutable_vm()->mutable_spec();
    spec->set_kernel_path(TRAPLINE_GUESTS_DIR "/idle.elf");
    spec->set_vcpus(vcpus);
    spec->set_memory_bytes(memory);
    spec->set_engine(v1::ENGINE_SOFT);
    v1::Vm vm;
    grpc::ClientContext context;
    return daemon_->vms().CreateVm(&context, request, &vm);
  }
};

TEST_F(LimitedWorkers, GuestMemoryThatIsNotToBeHadIsAnError) {
  ServeWithin(4 << 20);
  const grpc::Status refused = Create(1, uint64_t{16} << 30);
  EXPECT_EQ(refused.error_code(), grpc::RESOURCE_EXHAUSTED) << refused.error_message();
  EXPECT_THAT(refused.error_message(), HasSubstr("memory"));
  EXPECT_TRUE(Create(1, 16 << 20).ok());
}

TEST_F(LimitedWorkers, AddressSpaceThatIsNotToBeHadIsAnError) {
  ServeWithin(1 << 20);
  const grpc::Status refused = Create(64, 16 << 20);
  EXPECT_EQ(refused.error_code(), grpc::RESOURCE_EXHAUSTED) << refused.error_message();
  EXPECT_THAT(refused.error_message(), HasSubstr("mapping the stats file"));
  EXPECT_TRUE(Create(1, 16 << 20).ok());
}

// The daemon of a user of its own: limits on processes are of users, and bind root not at all.
class LimitedTasks : public Exhaustion {
 protected:
  // Its own, as other tests run meanwhile.
  const uid_t user_ = 100'000 + static_cast<uid_t>(getpid());

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "takes root, to be another user";
    ASSERT_EQ(chown(directory_.c_str(), user_, user_), 0);
  }
  std::string Script(const std::string& name, const std::string& command) {
    std::string path = directory_ + "/" + name;
    std::ofstream(path) << "#!/bin/sh\nexec " << command << " \"$@\"\n";
    chmod(path.c_str(), 0755);
    return path;
  }
  std::string AsUser() const {
    const std::string user = std::to_string(user_);
    return "setpriv --clear-groups --reuid=" + user + " --regid=" + user + " ";
  }
  void ServeAsUser(std::vector<std::string> more = {}) {
    daemon_ = std::make_unique<DaemonProcess>(directory_, std::move(more),
                                              Script("traplined", AsUser() + TRAPLINED));
    daemon_->KeepDirectory();
  }
  // Nothing new is started by that process until the object's end.
  class NoTasks {
   public:
    NoTasks(pid_t pid, uid_t user) : pid_(pid), user_(user) { EXPECT_TRUE(Set(false)); }
    ~NoTasks() { EXPECT_TRUE(Set(true)); }

   private:
    // By its user, who needs no privilege for it.
    bool Set(bool any) {
      const pid_t child = fork();
      if (child == 0) {
        rlimit limit{};
        bool done = setgroups(0, nullptr) == 0 && setresgid(user_, user_, user_) == 0 &&
                    setresuid(user_, user_, user_) == 0 &&
                    prlimit(pid_, RLIMIT_NPROC, nullptr, &limit) == 0;
        limit.rlim_cur = any ? limit.rlim_max : 1;
        done = done && prlimit(pid_, RLIMIT_NPROC, &limit, nullptr) == 0;
        _exit(done ? 0 : 1);
      }
      int status = -1;
      waitpid(child, &status, 0);
      return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }

    const pid_t pid_;
    const uid_t user_;
  };
  // The daemon's answer, as gRPC refuses calls itself until a thread is back from the one before.
  static grpc::Status Answer(const std::function<grpc::Status()>& call) {
    for (;;) {
      grpc::Status status = call();
      if (status.error_code() != grpc::RESOURCE_EXHAUSTED || !status.error_details().empty())
        return status;
    }
  }
  // How a console ends at once, or OK where it does not.
  grpc::Status OpenConsole(const std::string& id) {
    grpc::ClientContext context;
    auto stream = daemon_->vms().Console(&context);
    v1::ConsoleRequest request;
    request.set_name("vms/" + id);
    stream->Write(request);
    v1::ConsoleResponse response;
    if (!stream->Read(&response)) return stream->Finish();
    context.TryCancel();
    return grpc::Status::OK;
  }
};

TEST_F(LimitedTasks, WithoutThreadsVmsRunOnAndMoreAreMadeLater) {
  ServeAsUser();
  Run("a");
  {
    NoTasks limit(daemon_->pid(), user_);
    EXPECT_TRUE(OpenConsole("a").ok()) << "it takes none";
    const grpc::Status refused = Answer([&] { return Create("b"); });
    EXPECT_EQ(refused.error_code(), grpc::RESOURCE_EXHAUSTED);
    EXPECT_THAT(refused.error_message(), HasSubstr("no thread for a VM's events"));
    EXPECT_EQ(daemon_->Children("trapline-vmm").size(), 1u) << "its worker is gone again";
    EXPECT_TRUE(Answer([&] { return daemon_->StopVm("a"); }).ok());
  }
  EXPECT_TRUE(Create("b").ok());
  EXPECT_TRUE(daemon_->StartVm("b").ok());
  EXPECT_TRUE(OpenConsole("b").ok());
}

TEST_F(LimitedTasks, ADaemonThatCannotHaveItsThreadsEndsWithTheReason) {
#ifdef TRAPLINE_SANITIZED
  GTEST_SKIP() << "the search for leaks at its end takes a process";
#endif
  for (const char* limit : {"1", "8", "12", "16", "20", "24"}) {  // of those that it begins with
    const std::string limited =
        AsUser() + "prlimit --nproc=" + limit + " " TRAPLINED " 2>" + directory_ + "/log";
    EXPECT_EQ(RunDaemon({"--listen", directory_ + "/d.sock", "--run-dir", directory_ + "/run",
                         "--state-dir", directory_ + "/state"},
                        Script("traplined", limited)),
              1)
        << limit;
    std::ifstream log(directory_ + "/log");
    EXPECT_THAT(std::string((std::istreambuf_iterator<char>(log)), {}), HasSubstr("no thread for"));
  }
}

// gRPC would lose the ends of these calls, and others' work later, in threads that it cannot have.
TEST_F(LimitedTasks, ADaemonThatHadNoThreadsLosesNoCalls) {
  constexpr int kCalls = 64;
  ServeAsUser();
  Run("a");
  v1::WaitVmRequest request;
  request.set_name("vms/a");
  request.add_target_states(v1::Vm::FAILED);
  struct Call {
    grpc::ClientContext context;
    v1::Vm vm;
    absl::Notification done;
  };
  std::vector<Call> calls(kCalls);
  {
    NoTasks limit(daemon_->pid(), user_);
    for (Call& call : calls) {
      daemon_->vms().async()->WaitVm(&call.context, &request, &call.vm,
                                     [&](const grpc::Status&) { call.done.Notify(); });
    }
    EXPECT_TRUE(Answer([&] { return daemon_->StopVm("a"); }).ok());
    for (Call& call : calls) call.context.TryCancel();
    for (Call& call : calls) call.done.WaitForNotification();
  }
  EXPECT_TRUE(Create("b").ok());
  EXPECT_TRUE(daemon_->StartVm("b").ok());
  const std::vector<pid_t> workers = daemon_->Children("trapline-vmm");
  EXPECT_GE(daemon_->Terminate(), 0);  // gRPC leaks what it had for a thread that it could not have
  EXPECT_EQ(daemon_->Log().find("calls did not end in time"), std::string::npos);
  for (pid_t worker : workers) EXPECT_NE(kill(worker, 0), 0) << "it is stopped all the same";
}

TEST_F(LimitedTasks, AVmThatTakesMoreThreadsThanAWorkerMayHaveIsRefused) {
  ServeAsUser({"--vmm-path", Script("trapline-vmm", "prlimit --nproc=80 " TRAPLINE_VMM)});
  v1::CreateVmRequest request;
  request.set_vm_id("big");
  auto* spec = request.mutable_vm()->mutable_spec();
  spec->set_kernel_path(TRAPLINE_GUESTS_DIR "/idle.elf");
  spec->set_vcpus(64);
  spec->set_memory_bytes(16 << 20);
  spec->set_engine(v1::ENGINE_SOFT);
  v1::Vm vm;
  grpc::ClientContext context;
  Run("a");
  const grpc::Status status = daemon_->vms().CreateVm(&context, request, &vm);
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("no thread for a VM of 64 vCPUs"));
  EXPECT_EQ(daemon_->GetVm("a").state(), v1::Vm::RUNNING);
}

// One for gRPC's calls, one that the daemon's watch of it keeps, and so on.
TEST_F(LimitedTasks, AVmIsMadeOrRefusedAtEveryLimitAndNotLost) {
  constexpr size_t kOfEach = 5;
  // A worker begins with some 16 threads, and one more for each CPU.
  const size_t most = 24 + std::thread::hardware_concurrency();
  const std::string limit = directory_ + "/limit";
  ServeAsUser({"--workers", "spawn", "--vmm-path",
               Script("trapline-vmm", "prlimit --nproc=$(cat " + limit + ") " TRAPLINE_VMM)});
  std::ofstream(limit) << 1000;
  Run("first");
  // What the user has besides, of any one worker.
  const size_t others =
      UseOf(daemon_->pid()).threads + UseOf(daemon_->Children("trapline-vmm").front()).threads;
  int made = 0, refused = 0;
  for (size_t i = 0; i < kOfEach * most; ++i) {
    const std::string id = "vm-" + std::to_string(i);
    std::ofstream(limit) << others + 1 + i / kOfEach;
    const grpc::Status created = Create(id);
    if (!created.ok()) {
      ++refused;
      EXPECT_THAT(created.error_message(),
                  AnyOf(HasSubstr("before it served"), HasSubstr("no thread for")));
      continue;
    }
    ++made;
    const grpc::Status started = daemon_->StartVm(id);
    EXPECT_THAT(started.error_code(), AnyOf(grpc::OK, grpc::RESOURCE_EXHAUSTED));
    EXPECT_TRUE(daemon_->DeleteVm(id).ok());
  }
  EXPECT_GT(made, 0);
  EXPECT_GT(refused, 0);
  EXPECT_EQ(daemon_->Log().find("the worker was lost"), std::string::npos);
}

TEST_F(LimitedTasks, AGuestProcessThatIsNotToBeHadIsAFailureOfItsVm) {
  ServeAsUser();
  const grpc::Status made = daemon_->CreateIdleVm("a", v1::ENGINE_DIRECT);
  if (!made.ok()) GTEST_SKIP() << made.error_message();
  const std::vector<pid_t> workers = daemon_->Children("trapline-vmm");
  ASSERT_EQ(workers.size(), 1u);
  v1::ReadRegistersRequest request;
  request.set_name("vms/a");
  for (bool served = false; !served;) {
    // Once that call is over gRPC has a thread to spare, unless the daemon's watch takes it.
    v1::Registers registers;
    grpc::ClientContext context;
    EXPECT_TRUE(daemon_->vms().ReadRegisters(&context, request, &registers).ok());
    NoTasks limit(workers.front(), user_);
    served = daemon_->StartVm("a").error_code() != grpc::RESOURCE_EXHAUSTED;
    if (!served) continue;
    const v1::Vm failed = daemon_->AwaitVm("a", v1::Vm::FAILED);
    EXPECT_THAT(failed.state_reason(), HasSubstr("Resource temporarily unavailable"));
  }
  EXPECT_TRUE(daemon_->StartVm("a").ok());
  EXPECT_EQ(daemon_->AwaitVm("a", v1::Vm::RUNNING).state(), v1::Vm::RUNNING);
}

// Where this host has the memory controller in cgroup version 2, and lets the daemon divide it.
TEST_F(Exhaustion, AWorkerThatTakesMoreThanItsMemoryIsAFailureThatSaysSo) {
  Serve();
  Run("a");
  Run("b");
  const v1::Vm made = daemon_->GetVm("a");
  for (const auto& measure : made.confinement().measures()) {
    if (measure.name() == "cgroup" && measure.state() != v1::Confinement::Measure::APPLIED)
      GTEST_SKIP() << measure.detail();
  }
  // What the worker has already is more than that, and cannot be written anywhere.
  const pid_t worker = daemon_->Children("trapline-vmm").front();
  std::ifstream file("/proc/" + std::to_string(worker) + "/cgroup");
  std::string place;
  while (std::getline(file, place) && place.rfind("0::/", 0) != 0) {
  }
  const bool first = place.find("/vm-a-") != std::string::npos;
  std::ofstream("/sys/fs/cgroup" + place.substr(3) + "/memory.max") << (1 << 20);
  const v1::Vm failed = daemon_->AwaitVm(first ? "a" : "b", v1::Vm::FAILED);
  EXPECT_THAT(failed.state_reason(), HasSubstr("out of memory (OOM)"));
  EXPECT_EQ(daemon_->GetVm(first ? "b" : "a").state(), v1::Vm::RUNNING);
}

}  // namespace
}  // namespace trapline::daemon

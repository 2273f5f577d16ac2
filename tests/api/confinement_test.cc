// SPDX-License-Identifier: Apache-2.0
// What holds a real worker, seen from outside, beside what the API says of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/api/daemon_process.h"

namespace trapline::daemon {
namespace {

using ::testing::HasSubstr;
using Measure = v1::Confinement::Measure;

class ConfinementTest : public ::testing::Test {
 protected:
  void Restart(std::vector<std::string> arguments) {
    daemon_ = nullptr;
    daemon_ = std::make_unique<DaemonProcess>("", std::move(arguments));
  }
  v1::Vm Get(const std::string& id) {
    v1::GetVmRequest request;
    request.set_name("vms/" + id);
    v1::Vm vm;
    grpc::ClientContext context;
    EXPECT_TRUE(daemon_->vms().GetVm(&context, request, &vm).ok());
    return vm;
  }
  std::map<std::string, Measure> Measures(const std::string& id) {
    std::map<std::string, Measure> measures;
    const v1::Vm vm = Get(id);
    for (const Measure& measure : vm.confinement().measures()) measures[measure.name()] = measure;
    return measures;
  }
  // A running VM's worker.
  pid_t Run(const std::string& id, v1::Engine engine) {
    EXPECT_TRUE(daemon_->CreateVm(id, "idle", "", engine).ok());
    EXPECT_TRUE(daemon_->StartVm(id).ok());
    for (pid_t pid : daemon_->Children("trapline-vmm")) {
      std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
      std::string words((std::istreambuf_iterator<char>(file)), {});
      if (words.find("/vms/" + id + "/") != std::string::npos) return pid;
    }
    ADD_FAILURE() << "no worker of " << id;
    return 0;
  }

  std::unique_ptr<DaemonProcess> daemon_ = std::make_unique<DaemonProcess>();
};

bool Applied(const Measure& measure) { return measure.state() == Measure::APPLIED; }

// A field of a thread's as /proc has it.
std::string StatusField(const std::filesystem::path& thread, const std::string& name) {
  std::ifstream file(thread / "status");
  for (std::string word; file >> word;) {
    if (word == name + ":" && file >> word) return word;
  }
  return "";
}

std::vector<std::filesystem::path> Threads(pid_t pid) {
  std::vector<std::filesystem::path> threads;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task"))
    threads.push_back(entry.path());
  return threads;
}

std::set<std::string> Names(const std::string& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.insert(entry.path().filename());
  return names;
}

TEST_F(ConfinementTest, EveryMeasureIsTold) {
  Run("a", v1::ENGINE_SOFT);
  const auto measures = Measures("a");
  std::set<std::string> names;
  for (const auto& [name, measure] : measures) {
    names.insert(name);
    EXPECT_NE(measure.state(), Measure::STATE_UNSPECIFIED) << name;
    EXPECT_NE(measure.detail(), "") << name;
  }
  EXPECT_EQ(names, (std::set<std::string>{"cgroup", "limits", "namespaces", "privileges", "root",
                                          "system calls"}));
  EXPECT_TRUE(Applied(measures.at("limits")));
  EXPECT_TRUE(Applied(measures.at("privileges")));
}

TEST_F(ConfinementTest, EachThreadHasWhatIsSaid) {
#ifdef TRAPLINE_SANITIZED
  GTEST_SKIP() << "sanitizers have threads of their own";
#endif
  for (v1::Engine engine : {v1::ENGINE_SOFT, v1::ENGINE_DIRECT}) {
    const std::string id = engine == v1::ENGINE_SOFT ? "soft" : "direct";
    const pid_t worker = Run(id, engine);
    const auto measures = Measures(id);
    const bool filtered = Applied(measures.at("system calls"));
    for (const auto& thread : Threads(worker)) {
      EXPECT_EQ(StatusField(thread, "NoNewPrivs"), "1");
      for (const char* set : {"CapPrm", "CapEff", "CapInh", "CapAmb"})
        EXPECT_EQ(StatusField(thread, set), "0000000000000000") << set;
      EXPECT_EQ(StatusField(thread, "Seccomp"), filtered ? "2" : "0");
    }
    if (!filtered) continue;
    // The vCPU's thread has one more than the others, once it runs.
    std::multiset<std::string> filters;
    while (filters.count("4") == 0) {
      filters.clear();
      for (const auto& thread : Threads(worker))
        filters.insert(StatusField(thread, "Seccomp_filters"));
    }
    EXPECT_EQ(filters.count("4"), 1u);
    EXPECT_EQ(filters.count("3"), filters.size() - 1);
  }
}

TEST_F(ConfinementTest, AWorkerSeesItsOwnDirectoryAlone) {
  const pid_t worker = Run("a", v1::ENGINE_SOFT);
  Run("b", v1::ENGINE_SOFT);
  if (!Applied(Measures("a").at("root"))) GTEST_SKIP() << Measures("a").at("root").detail();
  const std::string root = "/proc/" + std::to_string(worker) + "/root/";
  EXPECT_EQ(Names(root + daemon_->directory() + "/run/vms"), std::set<std::string>{"a"});
  EXPECT_EQ(Names(root + daemon_->directory() + "/run/vms/a"),
            (std::set<std::string>{"stats", "vmm.sock"}));
  EXPECT_EQ(Names(root), (std::set<std::string>{"proc", "tmp"}));
}

TEST_F(ConfinementTest, ItsNamespacesAreNotTheDaemons) {
  const pid_t first = Run("a", v1::ENGINE_SOFT), second = Run("b", v1::ENGINE_DIRECT);
  if (!Applied(Measures("a").at("namespaces")))
    GTEST_SKIP() << Measures("a").at("namespaces").detail();
  auto link = [](pid_t pid, const std::string& kind) {
    return std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/ns/" + kind).string();
  };
  for (const char* kind : {"user", "mnt", "ipc", "net", "uts", "cgroup"}) {
    EXPECT_NE(link(first, kind), link(daemon_->pid(), kind)) << kind;
    EXPECT_NE(link(second, kind), link(daemon_->pid(), kind)) << kind;
  }
  for (const char* kind : {"user", "mnt", "ipc"}) EXPECT_NE(link(first, kind), link(second, kind));
}

// Guest processes inherit the worker's filter; it must not answer in place of their own.
TEST_F(ConfinementTest, AGuestsOwnSystemCallsStayItsOwnFaults) {
  v1::CreateVmRequest request;
  request.set_vm_id("a");
  auto* spec = request.mutable_vm()->mutable_spec();
  spec->set_kernel_path(TRAPLINE_GUESTS_DIR "/hostile.elf");
  spec->set_command_line("syscalls");
  spec->set_memory_bytes(64 << 20);
  spec->set_engine(v1::ENGINE_DIRECT);
  v1::Vm vm;
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_->vms().CreateVm(&context, request, &vm).ok());
  ASSERT_TRUE(daemon_->StartVm("a").ok());
  vm = daemon_->AwaitVm("a", v1::Vm::STOPPED);
  EXPECT_EQ(vm.state(), v1::Vm::STOPPED) << Get("a").state_reason();
  EXPECT_FALSE(vm.has_exit_status()) << "not all of them were";
}

TEST_F(ConfinementTest, WorkersThatAreSpawnedAreConfinedAsWell) {
  Restart({"--workers", "spawn"});
  const auto forked = Measures((Run("a", v1::ENGINE_SOFT), "a"));
  Restart({});
  Run("a", v1::ENGINE_SOFT);
  for (const auto& [name, measure] : Measures("a"))
    EXPECT_EQ(measure.state(), forked.at(name).state()) << name << ": " << measure.detail();
}

TEST_F(ConfinementTest, TheNextDaemonTellsItToo) {
  Run("a", v1::ENGINE_SOFT);
  const auto before = Measures("a");
  daemon_->KeepDirectory();
  daemon_->Kill();
  daemon_ = std::make_unique<DaemonProcess>(daemon_->directory());
  const auto after = Measures("a");
  ASSERT_EQ(after.size(), before.size());
  for (const auto& [name, measure] : before) {
    EXPECT_EQ(after.at(name).state(), measure.state()) << name;
    EXPECT_EQ(after.at(name).detail(), measure.detail()) << name;
  }
}

TEST_F(ConfinementTest, ACallThatIsNotAllowedIsSaidToHaveEndedTheWorker) {
  kill(Run("a", v1::ENGINE_SOFT), SIGSYS);
  const v1::Vm vm = daemon_->AwaitVm("a", v1::Vm::FAILED);
  EXPECT_THAT(vm.state_reason(), HasSubstr("a system call that its filter does not allow"));
  EXPECT_FALSE(Get("a").has_confinement()) << "there is no worker";
}

TEST_F(ConfinementTest, WhereItIsRequiredAVmIsRefusedForWhatIsMissing) {
  std::string missing;
  Run("a", v1::ENGINE_SOFT);
  std::vector<std::string> names;
  for (const auto& [name, measure] : Measures("a")) {
    if (!Applied(measure)) names.push_back(name + ": ");
  }
  Restart({"--require-confinement"});
  const grpc::Status status = daemon_->CreateIdleVm("a", v1::ENGINE_SOFT);
  if (names.empty()) {
    EXPECT_TRUE(status.ok()) << status.error_message();
    return;
  }
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  for (const std::string& name : names) EXPECT_THAT(status.error_message(), HasSubstr(name));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "NOT_CONFINED");
  EXPECT_THAT(info.metadata().at("missing"), HasSubstr(names.front()));
  EXPECT_TRUE(daemon_->Children("trapline-vmm").empty());
}

TEST_F(ConfinementTest, WhereItIsNotWantedItIsOff) {
  Restart({"--no-confinement"});
  const pid_t worker = Run("a", v1::ENGINE_SOFT);
  const auto measures = Measures("a");
  EXPECT_EQ(measures.size(), 6u);
  for (const auto& [name, measure] : measures) EXPECT_EQ(measure.state(), Measure::OFF) << name;
  for (const auto& thread : Threads(worker)) {
    EXPECT_EQ(StatusField(thread, "Seccomp"), StatusField("/proc/self", "Seccomp"));
    EXPECT_EQ(StatusField(thread, "NoNewPrivs"), StatusField("/proc/self", "NoNewPrivs"));
  }
}

}  // namespace
}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// Workers that are forked: whose children they are, what they hold, and what becomes of them and of
// the zygote when the one or the other, or the daemon, dies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/api/daemon_process.h"

namespace trapline::daemon {
namespace {

constexpr char kVmm[] = "trapline-vmm", kZygote[] = "trapline-zygote";

class ZygoteTest : public ::testing::Test {
 protected:
  grpc::Status Create(const std::string& id) { return daemon_->CreateIdleVm(id); }
  grpc::Status Start(const std::string& id) { return daemon_->StartVm(id); }
  v1::Vm::State State(const std::string& id) {
    v1::GetVmRequest request;
    request.set_name("vms/" + id);
    v1::Vm vm;
    grpc::ClientContext context;
    daemon_->vms().GetVm(&context, request, &vm);
    return vm.state();
  }
  // The zygote of the daemon's, once it is there by that name.
  pid_t Zygote() {
    std::vector<pid_t> found;
    while (found.empty()) found = daemon_->Children(kZygote);
    EXPECT_EQ(found.size(), 1u);
    return found.front();
  }

  std::unique_ptr<DaemonProcess> daemon_ = std::make_unique<DaemonProcess>();
};

// Kill with signal zero also finds a process that nobody has waited for.
bool Lives(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string number, name, state;
  return file >> number >> name >> state && state != "Z";
}
void AwaitEnd(pid_t pid) {
  while (Lives(pid)) {
  }
}

// What its descriptors name, but for pipes and the like, and standard ones.
std::multiset<std::string> Holds(pid_t pid) {
  std::multiset<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    if (std::stoi(entry.path().filename()) > 2)
      names.insert(std::filesystem::read_symlink(entry.path()));
  }
  return names;
}

TEST_F(ZygoteTest, AWorkerIsTheDaemonsOwnChildInAGroupOfItsOwn) {
  pid_t zygote = Zygote();
  ASSERT_TRUE(Create("a").ok());
  std::vector<pid_t> workers = daemon_->Children(kVmm);
  ASSERT_EQ(workers.size(), 1u);
  EXPECT_EQ(getpgid(workers[0]), workers[0]);
  EXPECT_NE(getpgid(workers[0]), getpgid(zygote));
  std::ifstream file("/proc/" + std::to_string(workers[0]) + "/cmdline");
  std::string words((std::istreambuf_iterator<char>(file)), {});
  EXPECT_THAT(words, ::testing::HasSubstr(daemon_->directory() + "/run/vms/a/vmm.sock"));
}

TEST_F(ZygoteTest, AWorkerHoldsNothingOfAnotherVm) {
  ASSERT_TRUE(Create("a").ok());
  ASSERT_TRUE(Create("b").ok());
  std::vector<pid_t> workers = daemon_->Children(kVmm);
  ASSERT_EQ(workers.size(), 2u);
  std::multiset<std::string> first = Holds(workers[0]), second = Holds(workers[1]);
  for (const auto& names : {first, second}) {
    EXPECT_EQ(names.count("/memfd:guest-ram (deleted)"), 1u);
    EXPECT_EQ(std::count_if(names.begin(), names.end(),
                            [](const std::string& name) { return name.ends_with("/stats"); }),
              1);
  }
  for (const std::string& name : first) {
    if (name.starts_with("socket:") || name.starts_with("pipe:") || name.ends_with("/stats")) {
      EXPECT_EQ(second.count(name), 0u) << name;
    }
  }
}

TEST_F(ZygoteTest, AZygoteThatDiesIsReplacedAndItsWorkersLiveOn) {
  ASSERT_TRUE(Create("a").ok());
  ASSERT_TRUE(Start("a").ok());
  pid_t zygote = Zygote();
  kill(zygote, SIGKILL);
  AwaitEnd(zygote);
  ASSERT_TRUE(Create("b").ok());
  ASSERT_TRUE(Start("b").ok());
  EXPECT_EQ(State("a"), v1::Vm::RUNNING);
  EXPECT_EQ(State("b"), v1::Vm::RUNNING);
  EXPECT_NE(Zygote(), zygote);
}

// A program that forks nothing: each worker is started by itself.
TEST_F(ZygoteTest, WithoutOneWorkersAreSpawned) {
  char script[] = "/tmp/trapline-vmm-XXXXXX";
  close(mkstemp(script));
  std::ofstream(script) << "#!/bin/sh\ncase \"$*\" in *--zygote*) exit 1;; esac\n"
                        << "exec " TRAPLINE_VMM " \"$@\"\n";
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  daemon_ = nullptr;
  daemon_ = std::make_unique<DaemonProcess>("", std::vector<std::string>{"--vmm-path", script});
  for (const char* id : {"a", "b", "c", "d", "e"}) {
    ASSERT_TRUE(Create(id).ok());
    ASSERT_TRUE(Start(id).ok());
    EXPECT_EQ(State(id), v1::Vm::RUNNING);
  }
  EXPECT_EQ(daemon_->Children(kVmm).size(), 5u);
  std::filesystem::remove(script);
}

TEST_F(ZygoteTest, NoneIsMadeWhereWorkersShallBeSpawned) {
  daemon_ = nullptr;
  daemon_ = std::make_unique<DaemonProcess>("", std::vector<std::string>{"--workers", "spawn"});
  ASSERT_TRUE(Create("a").ok());
  ASSERT_TRUE(Start("a").ok());
  EXPECT_EQ(State("a"), v1::Vm::RUNNING);
  EXPECT_EQ(daemon_->Children(kVmm).size(), 1u);
  EXPECT_TRUE(daemon_->Children(kZygote).empty());
}

TEST_F(ZygoteTest, AKilledDaemonLeavesWorkersButNoZygoteAndTheNextOneFindsThem) {
  ASSERT_TRUE(Create("a").ok());
  ASSERT_TRUE(Start("a").ok());
  pid_t zygote = Zygote(), worker = daemon_->Children(kVmm).at(0);
  daemon_->KeepDirectory();
  daemon_->Kill();
  AwaitEnd(zygote);
  EXPECT_TRUE(Lives(worker));
  daemon_ = std::make_unique<DaemonProcess>(daemon_->directory());
  EXPECT_EQ(State("a"), v1::Vm::RUNNING);
  EXPECT_TRUE(Lives(worker));
}

}  // namespace
}  // namespace trapline::daemon

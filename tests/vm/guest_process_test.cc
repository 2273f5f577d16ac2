// SPDX-License-Identifier: Apache-2.0
// A guest process seen from outside: what it has, what it may, and what becomes of its VM when it
// is killed, or of it when its VMM is.
#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/engine/direct/layout.h"
#include "core/engine/direct/probe.h"
#include "tests/vm/hostile_guest.h"
#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

std::string Slurp(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}
std::map<std::string, std::string> Status(pid_t pid) {
  std::map<std::string, std::string> fields;
  for (absl::string_view line :
       absl::StrSplit(Slurp(absl::StrCat("/proc/", pid, "/status")), '\n', absl::SkipEmpty())) {
    std::pair<std::string, std::string> field = absl::StrSplit(line, absl::MaxSplits(":\t", 1));
    fields.insert(field);
  }
  return fields;
}
// Guest processes of parent that are not dead.
std::set<pid_t> GuestsOf(pid_t parent) {
  std::set<pid_t> pids;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    pid_t pid;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    auto status = Status(pid);
    if (status["PPid"] == absl::StrCat(parent) && status["Name"] == "trapline-guest" &&
        !absl::StartsWith(status["State"], "Z"))
      pids.insert(pid);
  }
  return pids;
}

class GuestProcesses : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!engine::direct::ProbeHost().missing.empty()) GTEST_SKIP() << "no direct engine here";
  }
  // Starts guest, waits until it has said text, and finds its process.
  static pid_t Start(RunningVm& guest, const std::string& text) {
    std::set<pid_t> before = GuestsOf(getpid());
    EXPECT_TRUE(guest.vm().Start().ok());
    EXPECT_TRUE(guest.AwaitOutput(text));
    for (pid_t pid : GuestsOf(getpid())) {
      if (!before.contains(pid)) return pid;
    }
    ADD_FAILURE() << "no guest process";
    return -1;
  }
  static void Kill(pid_t pid) {
    ASSERT_GT(pid, 1);
    kill(pid, SIGKILL);
  }
  static VmConfig Idle() { return GuestConfig("idle", "", 1, EngineKind::kDirect); }
  static VmConfig Busy() {
    return GuestConfig("hello", "calls=1000000000000", 1, EngineKind::kDirect);
  }
};

// ---- What it has ----

TEST_F(GuestProcesses, HasNothingOfTheHosts) {
  RunningVm guest(Idle());
  pid_t pid = Start(guest, "idle\n");
  std::string proc = absl::StrCat("/proc/", pid, "/");
  auto status = Status(pid);
  EXPECT_EQ(status["NoNewPrivs"], "1");
  EXPECT_EQ(status["Seccomp"], "2");
  EXPECT_EQ(status["Threads"], "1");
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"})
    EXPECT_EQ(status[set], "0000000000000000") << set;
  if (access(absl::StrCat(proc, "fd").c_str(), R_OK) == 0) {
    std::error_code error;
    EXPECT_EQ(std::distance(fs::directory_iterator(proc + "fd", error), {}), 0) << error;
  }
  EXPECT_THAT(Slurp(proc + "environ"), IsEmpty());
  std::string limits = Slurp(proc + "limits");
  for (const char* limit : {"Max core file size        0                    0",
                            "Max processes             0                    0",
                            "Max open files            0                    0",
                            "Max file size             0                    0",
                            "Max locked memory         0                    0"})
    EXPECT_THAT(limits, HasSubstr(limit));
}

TEST_F(GuestProcesses, HasNamespacesOfItsOwnWhereItMay) {
  RunningVm guest(Idle());
  pid_t pid = Start(guest, "idle\n");
  auto space = [](const std::string& process, const char* name) {
    std::error_code error;
    return fs::read_symlink(absl::StrCat("/proc/", process, "/ns/", name), error).string();
  };
  std::string its = space(absl::StrCat(pid), "user");
  if (its.empty() || its == space("self", "user")) GTEST_SKIP() << "the host grants none";
  for (const char* name : {"ipc", "uts", "cgroup"})
    EXPECT_NE(space(absl::StrCat(pid), name), space("self", name)) << name;
}

TEST_F(GuestProcesses, MapsTheGuestAndItsProgramOnly) {
  RunningVm guest(Idle());
  pid_t pid = Start(guest, "idle\n");
  std::string maps = Slurp(absl::StrCat("/proc/", pid, "/maps"));
  if (maps.empty()) GTEST_SKIP() << "only root may look";
  const std::set<std::string> files = {"/memfd:guest-ram (deleted)",
                                       "/memfd:trapline-vcpu (deleted)",
                                       "/memfd:trapline-stubs (deleted)",
                                       "/memfd:trapline-sites (deleted)",
                                       "/memfd:trapline-guest (deleted)",
                                       "/memfd:stats (deleted)",
                                       "[vsyscall]",
                                       ""};
  for (absl::string_view line : absl::StrSplit(maps, '\n', absl::SkipEmpty())) {
    std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(absl::ByAnyChar(" "), 5));
    std::string name(absl::StripAsciiWhitespace(words.back()));
    EXPECT_THAT(files, Contains(name)) << line;
    if (name == "[vsyscall]") continue;
    EXPECT_FALSE(words[1][1] == 'w' && words[1][2] == 'x') << line;
    uint64_t start = 0;
    ASSERT_TRUE(absl::SimpleHexAtoi(words[0].substr(0, words[0].find('-')), &start));
    EXPECT_GE(start, uint64_t{TRAPLINE_RAM_START}) << line;
    // The program's own memory is all that has no file.
    EXPECT_TRUE(!name.empty() || start >> 20 == uint64_t{TRAPLINE_PROGRAM} >> 20) << line;
  }
}

TEST_F(GuestProcesses, ACrashLeavesNoCore) {
  RunningVm guest(HostileConfig("crash"));
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_EQ(guest.vm().state(), State::kFailed);
  EXPECT_THAT(guest.vm().state_reason(), StartsWith("the guest process was killed by signal 11 "));
  for (const auto& entry : fs::directory_iterator(".")) {
    EXPECT_FALSE(entry.is_regular_file() && entry.path().filename().string().starts_with("core"))
        << entry;
  }
}

// ---- Killed from outside ----

TEST_F(GuestProcesses, AKillOfARunningOneFailsItsVmAlone) {
  RunningVm other(HostileConfig("good")), guest(Busy());
  Start(other, "hostile: behaves");
  pid_t pid = Start(guest, "hello from");
  Kill(pid);
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_EQ(guest.vm().state(), State::kFailed);
  EXPECT_THAT(guest.vm().state_reason(),
              StartsWith("the guest process was killed by signal 9 (Killed); last seen at "));
  AwaitBeats(other);
  EXPECT_EQ(other.vm().state(), State::kRunning);
  // And it can be started again.
  ASSERT_TRUE(guest.vm().Start().ok());
  EXPECT_TRUE(guest.AwaitOutput("hello from", 2));
}

TEST_F(GuestProcesses, AKillOfASleepingOneFailsItsVm) {
  RunningVm guest(Idle());
  Kill(Start(guest, "idle\n"));
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_EQ(guest.vm().state(), State::kFailed);
  EXPECT_THAT(guest.vm().state_reason(), StartsWith("the guest process was killed by signal 9"));
}

TEST_F(GuestProcesses, AKillOfAPausedOneShowsWhenItIsResumed) {
  RunningVm guest(Busy());
  pid_t pid = Start(guest, "hello from");
  ASSERT_TRUE(guest.vm().Pause().ok());
  Kill(pid);
  ASSERT_TRUE(guest.vm().Resume().ok());
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_THAT(guest.vm().state_reason(), StartsWith("the guest process was killed by signal 9"));
}

TEST_F(GuestProcesses, AVmThatIsOverHasNone) {
  RunningVm guest(Busy());
  Start(guest, "hello from");
  ASSERT_TRUE(guest.vm().Stop(StopMode::kForced, absl::ZeroDuration()).ok());
  EXPECT_THAT(GuestsOf(getpid()), IsEmpty());
}

// The VMM is this test again, as a process of its own, which says what processes it has.
TEST_F(GuestProcesses, DieWithTheirVmm) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  pid_t vmm = fork();
  ASSERT_GE(vmm, 0);
  if (vmm == 0) {
    dup2(pipe_ends[1], 1);
    setenv("TRAPLINE_TEST_VMM", "1", 1);
    execl("/proc/self/exe", "hostile_test", "--gtest_filter=*BeAVmm", nullptr);
    _exit(127);
  }
  close(pipe_ends[1]);
  std::string said;
  for (char c; said.find("ready\n") == std::string::npos && read(pipe_ends[0], &c, 1) == 1;)
    said += c;
  std::set<pid_t> guests = GuestsOf(vmm);
  EXPECT_EQ(guests.size(), 2u) << said;
  kill(vmm, SIGKILL);
  waitpid(vmm, nullptr, 0);
  close(pipe_ends[0]);
  for (pid_t pid : guests) {
    while (Status(pid)["Name"] == "trapline-guest" &&
           !absl::StartsWith(Status(pid)["State"], "Z")) {
    }
  }
}
TEST_F(GuestProcesses, BeAVmm) {
  if (!getenv("TRAPLINE_TEST_VMM")) GTEST_SKIP() << "for another test";
  RunningVm busy(Busy()), idle(Idle());
  Start(busy, "hello from");
  Start(idle, "idle\n");
  write(1, "ready\n", 6);
  pause();
}

}  // namespace
}  // namespace trapline::vm

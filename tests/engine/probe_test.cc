// SPDX-License-Identifier: Apache-2.0
// The probe of engine `direct`: what holds on any machine, and that it does the caller no harm.
#include "core/engine/direct/probe.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trapline::engine::direct {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;

std::map<std::string, TrapResult> ByName(const HostProbe& probe) {
  std::map<std::string, TrapResult> traps;
  for (const TrapResult& trap : probe.traps) traps[trap.instruction] = trap;
  return traps;
}

TEST(Probe, ListsEveryInstructionInOrder) {
  std::vector<std::string> names;
  for (const TrapResult& trap : ProbeHost().traps) names.push_back(trap.instruction);
  EXPECT_THAT(names, ElementsAre("vmcall", "vmmcall", "ud2", "int 0x1f", "int3", "hlt", "in", "out",
                                 "cpuid"));
}

// These the architecture promises of ring 3, whatever is underneath.
TEST(Probe, TellsTheFaultsApart) {
  auto traps = ByName(ProbeHost());
  EXPECT_EQ(traps["ud2"].kind, TrapKind::kInvalidOpcode);
  EXPECT_EQ(traps["ud2"].signal, "SIGILL");
  for (const char* name : {"int 0x1f", "hlt", "in", "out"}) {
    EXPECT_EQ(traps[name].kind, TrapKind::kGeneralProtection) << name;
    EXPECT_EQ(traps[name].signal, "SIGSEGV") << name;
  }
  EXPECT_EQ(traps["int3"].kind, TrapKind::kOther);
  EXPECT_EQ(traps["int3"].signal, "SIGTRAP");
  for (const auto& [name, trap] : traps) EXPECT_GT(trap.cycles, 0u) << name;
}

// Which of them depends on the machine, but it is one of those that the engine knows how to meet.
TEST(Probe, KnowsWhatHypercallsDo) {
  const HostProbe probe = ProbeHost();
  const auto known = AnyOf(TrapKind::kInvalidOpcode, TrapKind::kGeneralProtection, TrapKind::kOther,
                           TrapKind::kSilent, TrapKind::kRewritten);
  EXPECT_THAT(probe.vmcall, known);
  EXPECT_THAT(probe.vmmcall, known);
  auto traps = ByName(probe);
  EXPECT_EQ(traps["vmcall"].kind, probe.vmcall);
  EXPECT_EQ(traps["vmmcall"].kind, probe.vmmcall);
  for (const char* name : {"vmcall", "vmmcall"}) {
    if (traps[name].kind == TrapKind::kRewritten) continue;  // silent or not where it cannot be
    EXPECT_EQ(traps[name].signal.empty(), traps[name].kind == TrapKind::kSilent) << name;
  }
}

TEST(Probe, CpuidFaultsExactlyWhereItSaysSo) {
  const HostProbe probe = ProbeHost();
  EXPECT_EQ(ByName(probe)["cpuid"].kind,
            probe.cpuid_faults ? TrapKind::kGeneralProtection : TrapKind::kSilent);
}

TEST(Probe, SaysTheSameTwice) {
  const HostProbe first = ProbeHost(), second = ProbeHost();
  EXPECT_EQ(first.vmcall, second.vmcall);
  EXPECT_EQ(first.vmmcall, second.vmmcall);
  EXPECT_EQ(first.missing, second.missing);
}

// As under systemd's MemoryDenyWriteExecute=.
TEST(Probe, SaysTheSameWhereMemoryThatWasWrittenIsNeverExecuted) {
  const std::string missing = ProbeHost().missing;
  // PR_SET_MDWE and PR_MDWE_REFUSE_EXEC_GAIN, which are newer than the headers of Debian 12.
  constexpr int kSetMdwe = 65, kRefuseExecGain = 1;
  constexpr int kSame = 0, kOther = 1, kCannot = 2;
  const pid_t child = fork();
  if (child == 0) {
    if (prctl(kSetMdwe, kRefuseExecGain, 0, 0, 0) != 0) _exit(kCannot);
    _exit(ProbeHost().missing == missing ? kSame : kOther);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kCannot) GTEST_SKIP() << "this kernel is older than 6.3";
  EXPECT_EQ(WEXITSTATUS(status), kSame);
}

TEST(Probe, LeavesTheCallersSignalsAndChildrenAlone) {
  struct sigaction before, after;
  sigaction(SIGILL, nullptr, &before);
  std::thread([] { ProbeHost(); }).join();
  sigaction(SIGILL, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
}

TEST(Probe, KindsHaveNames) {
  EXPECT_EQ(TrapKindName(TrapKind::kInvalidOpcode), "#UD");
  EXPECT_EQ(TrapKindName(TrapKind::kGeneralProtection), "#GP");
  EXPECT_EQ(TrapKindName(TrapKind::kRewritten), "rewritten");
}

}  // namespace
}  // namespace trapline::engine::direct

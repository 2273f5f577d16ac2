// SPDX-License-Identifier: Apache-2.0
// Moves of a running guest, and looks into it.
#include <string>

#include "gmock/gmock.h"
#include "tests/cli/with_daemon.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli_test {
namespace {

using ::testing::HasSubstr;

class Inspect : public WithDaemon {
 protected:
  Inspect() { Start("loop", "loop"); }
  v1::Vm::State State() { return Json<v1::Vm>({"vm", "show", "loop"}).state(); }
};

TEST_F(Inspect, PauseAndResumeMoveItThereAndBack) {
  EXPECT_THAT(Well({"vm", "pause", "loop"}), HasSubstr("paused"));
  EXPECT_EQ(State(), v1::Vm::PAUSED);
  EXPECT_THAT(Well({"vm", "resume", "loop"}), HasSubstr("running"));
  EXPECT_EQ(State(), v1::Vm::RUNNING);
}

TEST_F(Inspect, ResetBootsItAfresh) {
  Process console(daemon_.Command({"vm", "console", "loop"}), daemon_.environment());
  ASSERT_TRUE(console.ReadUntil("loop>")) << console.err();
  EXPECT_THAT(Well({"vm", "reset", "loop"}), HasSubstr("running"));
  EXPECT_TRUE(console.ReadUntil("loop>")) << console.err();
}

TEST_F(Inspect, RegistersAreThoseOfTheVcpu) {
  Well({"vm", "pause", "loop"});
  const auto registers = Json<v1::Registers>({"vm", "registers", "loop"});
  EXPECT_GE(registers.rip(), 0x200000u);
  EXPECT_LT(registers.rip(), 0x201000u);
  const std::string text = Well({"vm", "registers", "loop"});
  EXPECT_THAT(text, HasSubstr("rip"));
  EXPECT_THAT(text, HasSubstr("cr0"));
  EXPECT_EQ(daemon_.Run({"vm", "registers", "loop", "--vcpu", "1"}).code, 2);
}

TEST_F(Inspect, MemoryIsAHexDump) {
  std::string gpa;
  while (gpa.empty()) gpa = Well({"sites", "ls", "loop", "-o", "name"});
  gpa.erase(gpa.find('\n'));
  Well({"sites", "set", "loop", "--technique", "emulate"});
  EXPECT_THAT(Well({"vm", "memory", "loop", gpa, "--size", "16"}), HasSubstr("0f 01 c1"));
  Well({"sites", "set", "loop", "--technique", "interrupt"});
  std::string memory;
  while (memory.find("cd 1f 90") == std::string::npos)
    memory = Well({"vm", "memory", "loop", gpa, "--size", "16", "--physical"});
  EXPECT_EQ(daemon_.Run({"vm", "memory", "loop", "0xffff800000000000"}).code, 3) << "not mapped";
  EXPECT_EQ(daemon_.Run({"vm", "memory", "loop", "nonsense"}).code, 2);
}

TEST_F(Inspect, DisassemblyNamesTheHypercall) {
  std::string gpa;
  while (gpa.empty()) gpa = Well({"sites", "ls", "loop", "-o", "name"});
  gpa.erase(gpa.find('\n'));
  Well({"sites", "set", "loop", "--technique", "emulate"});
  const std::string text = Well({"vm", "disassemble", "loop", gpa, "--count", "2"});
  EXPECT_THAT(text, HasSubstr("vmcall"));
  EXPECT_THAT(text, HasSubstr("jmp"));
}

TEST_F(Inspect, StopAsksBeforeItForces) {
  const std::string text = Well({"vm", "stop", "loop", "--grace", "100ms"});
  EXPECT_THAT(text, HasSubstr("stopped"));
  EXPECT_EQ(State(), v1::Vm::STOPPED);
  EXPECT_THAT(Well({"vm", "stop", "loop"}), HasSubstr("already"));
}

TEST_F(Inspect, ARunningVmIsNotRemoved) {
  const Result result = daemon_.Run({"vm", "rm", "loop"});
  EXPECT_EQ(result.code, 4);
  EXPECT_THAT(result.err, HasSubstr("RUNNING"));
}

TEST_F(Inspect, WaitReturnsWithTheState) {
  EXPECT_THAT(Well({"vm", "wait", "loop", "--for", "running"}), HasSubstr("running"));
}

}  // namespace
}  // namespace trapline::cli_test

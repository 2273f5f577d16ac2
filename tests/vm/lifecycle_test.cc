// SPDX-License-Identifier: Apache-2.0
// Moves between states, and what they do to a guest that runs for ever.
#include <gtest/gtest.h>

#include <array>

#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

class Lifecycle : public ::testing::TestWithParam<EngineKind> {
 protected:
  // Calls without end, as far as a test is concerned.
  static VmConfig Endless() { return GuestConfig("hello", "calls=1000000000000", 1, GetParam()); }
};

// The loop's counter among them.
std::array<uint64_t, x86::kGprCount> GeneralRegisters(RunningVm& guest) {
  auto registers = guest.vm().ReadRegisters(0);
  EXPECT_TRUE(registers.ok()) << registers.status();
  return registers.ok() ? registers->gpr : std::array<uint64_t, x86::kGprCount>{};
}

TEST_P(Lifecycle, APausedGuestExecutesNothingAndAResumedOneGoesOn) {
  RunningVm guest(Endless());
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitOutput("hello from"));
  ASSERT_TRUE(guest.vm().Pause().ok());
  EXPECT_EQ(guest.vm().state(), State::kPaused);
  const uint64_t retired = guest.vm().instructions_retired();
  const auto at_pause = GeneralRegisters(guest);
  EXPECT_EQ(GeneralRegisters(guest), at_pause);
  EXPECT_EQ(guest.vm().instructions_retired(), retired);
  ASSERT_TRUE(guest.vm().Resume().ok());
  while (GeneralRegisters(guest) == at_pause) {
  }
  // Engine `direct` does not count them.
  EXPECT_EQ(guest.vm().instructions_retired() > retired, GetParam() == EngineKind::kSoft);
  auto outcome = guest.vm().Stop(StopMode::kForced, absl::ZeroDuration());
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(*outcome, StopOutcome::kForced);
  EXPECT_EQ(guest.vm().state(), State::kStopped);
}

TEST_P(Lifecycle, IllegalMovesNameTheStates) {
  RunningVm guest(Endless());
  absl::Status status = guest.vm().Pause();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(status.message(), "cannot pause a VM that is created: it must be running");
  ASSERT_TRUE(guest.vm().Start().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(guest.vm().Start()));
  EXPECT_TRUE(absl::IsFailedPrecondition(guest.vm().Resume()));
}

TEST_P(Lifecycle, GracefulStopBecomesForcedWhereTheGuestDoesNotListen) {
  RunningVm guest(Endless());
  ASSERT_TRUE(guest.vm().Start().ok());
  auto outcome = guest.vm().Stop(StopMode::kGraceful, absl::Milliseconds(50));
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(*outcome, StopOutcome::kForced);
}

TEST_P(Lifecycle, AStoppedVmBootsAfresh) {
  RunningVm guest(GuestConfig("hello", "", 1, GetParam()));
  for (int boot = 0; boot < 3; ++boot) {
    ASSERT_TRUE(guest.vm().Start().ok());
    while (guest.vm().state() == State::kRunning) {
    }
  }
  std::string output = guest.output();
  size_t greetings = 0;
  for (size_t at = 0; (at = output.find("hello from", at)) != std::string::npos; ++at) ++greetings;
  EXPECT_EQ(greetings, 3u);
}

TEST_P(Lifecycle, ResetStartsTheGuestOver) {
  RunningVm guest(Endless());
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitOutput("MiB\n"));  // the whole line
  ASSERT_TRUE(guest.vm().Reset().ok());
  ASSERT_TRUE(guest.AwaitOutput("MiB\nhello from"));
  EXPECT_EQ(guest.vm().state(), State::kRunning);
}

TEST_P(Lifecycle, CodeCanBeReadAndDisassembled) {
  RunningVm guest(Endless());
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitOutput("hello from"));
  ASSERT_TRUE(guest.vm().Pause().ok());
  auto code = guest.vm().Disassemble(0, 0x200000, 2);
  ASSERT_TRUE(code.ok()) << code.status();
  ASSERT_EQ(code->size(), 2u);
  EXPECT_EQ((*code)[0].symbol, "_start");
  EXPECT_EQ((*code)[1].text, "xor ebp, ebp");
  EXPECT_FALSE(guest.vm().ReadPhysical(uint64_t{1} << 40, 16).ok());
  EXPECT_TRUE(absl::IsOutOfRange(guest.vm().ReadRegisters(1).status()));
}

INSTANTIATE_TEST_SUITE_P(Engines, Lifecycle, ::testing::ValuesIn(TestedEngines()), EngineName);

}  // namespace
}  // namespace trapline::vm

// SPDX-License-Identifier: Apache-2.0
// Moves between states, and what they do to a guest that runs for ever.
#include <gtest/gtest.h>

#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

// Calls without end, as far as a test is concerned.
VmConfig Endless() { return GuestConfig("hello", "calls=1000000000000"); }

TEST(Lifecycle, APausedGuestExecutesNothingAndAResumedOneGoesOn) {
  RunningVm guest(Endless());
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitOutput("hello from"));
  ASSERT_TRUE(guest.vm().Pause().ok());
  EXPECT_EQ(guest.vm().state(), State::kPaused);
  uint64_t at_pause = guest.vm().instructions_retired();
  auto registers = guest.vm().ReadRegisters(0);
  ASSERT_TRUE(registers.ok());
  EXPECT_EQ(guest.vm().instructions_retired(), at_pause);
  ASSERT_TRUE(guest.vm().Resume().ok());
  while (guest.vm().instructions_retired() == at_pause) {
  }
  auto outcome = guest.vm().Stop(StopMode::kForced, absl::ZeroDuration());
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(*outcome, StopOutcome::kForced);
  EXPECT_EQ(guest.vm().state(), State::kStopped);
}

TEST(Lifecycle, IllegalMovesNameTheStates) {
  RunningVm guest(Endless());
  absl::Status status = guest.vm().Pause();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(status.message(), "cannot pause a VM that is created: it must be running");
  ASSERT_TRUE(guest.vm().Start().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(guest.vm().Start()));
  EXPECT_TRUE(absl::IsFailedPrecondition(guest.vm().Resume()));
}

TEST(Lifecycle, GracefulStopBecomesForcedWhereTheGuestDoesNotListen) {
  RunningVm guest(Endless());
  ASSERT_TRUE(guest.vm().Start().ok());
  auto outcome = guest.vm().Stop(StopMode::kGraceful, absl::Milliseconds(50));
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(*outcome, StopOutcome::kForced);
}

TEST(Lifecycle, AStoppedVmBootsAfresh) {
  RunningVm guest(GuestConfig("hello"));
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

TEST(Lifecycle, ResetStartsTheGuestOver) {
  RunningVm guest(Endless());
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitOutput("MiB\n"));  // the whole line
  ASSERT_TRUE(guest.vm().Reset().ok());
  ASSERT_TRUE(guest.AwaitOutput("MiB\nhello from"));
  EXPECT_EQ(guest.vm().state(), State::kRunning);
}

TEST(Lifecycle, CodeCanBeReadAndDisassembled) {
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

}  // namespace
}  // namespace trapline::vm

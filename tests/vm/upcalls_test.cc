// SPDX-License-Identifier: Apache-2.0
// Upcalls seen from outside: console input, the request to power off, resets and pauses, and the
// reports of guests for which there is no upcall. What a guest itself can check, the `events`
// example does (guests_test.cc).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class Upcalls : public ::testing::TestWithParam<EngineKind> {
 protected:
  // `events`, once it waits for people.
  static void AwaitReady(RunningVm& guest) {
    ASSERT_TRUE(guest.AwaitOutput("events: type lines")) << guest.output();
  }
  // `faults`, run to its end.
  static void RunToEnd(RunningVm& guest) {
    ASSERT_TRUE(guest.made().ok()) << guest.made();
    ASSERT_TRUE(guest.vm().Start().ok());
    ASSERT_TRUE(guest.AwaitEnd());
  }
};

TEST_P(Upcalls, WhatIsTypedIsEchoed) {
  RunningVm guest(GuestConfig("events", "", 2, GetParam()));
  ASSERT_TRUE(guest.vm().Start().ok());
  AwaitReady(guest);
  EXPECT_TRUE(guest.vm().WriteConsole("hello\nto ").ok());
  EXPECT_TRUE(guest.AwaitOutput("echo: hello\n"));
  EXPECT_TRUE(guest.vm().WriteConsole("you\n").ok());
  EXPECT_TRUE(guest.AwaitOutput("echo: to you\n"));
}

TEST_P(Upcalls, AGracefulStopIsAnEvent) {
  RunningVm guest(GuestConfig("events", "", 2, GetParam()));
  ASSERT_TRUE(guest.vm().Start().ok());
  AwaitReady(guest);
  auto outcome = guest.vm().Stop(StopMode::kGraceful, absl::Minutes(1));
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(*outcome, StopOutcome::kGuestStopped);
  EXPECT_THAT(guest.output(), HasSubstr("events: power off\n"));
  EXPECT_THAT(guest.vm().failure_report(), IsEmpty());
}

TEST_P(Upcalls, MoreThanTheQueueHoldsIsRefused) {
  RunningVm guest(GuestConfig("events", "", 1, GetParam()));
  ASSERT_TRUE(guest.vm().Start().ok());
  AwaitReady(guest);
  ASSERT_TRUE(guest.vm().Pause().ok());
  std::string line(uint64_t{1} << 20, 'x');
  EXPECT_TRUE(absl::IsResourceExhausted(guest.vm().WriteConsole(line)));
  ASSERT_TRUE(guest.vm().Resume().ok());
  ASSERT_TRUE(guest.AwaitOutput("echo: xxx"));
}

TEST_P(Upcalls, OutliveAPause) {
  RunningVm guest(GuestConfig("events", "", 2, GetParam()));
  ASSERT_TRUE(guest.vm().Start().ok());
  AwaitReady(guest);
  ASSERT_TRUE(guest.vm().Pause().ok());
  EXPECT_TRUE(guest.vm().WriteConsole("while it slept\n").ok());
  EXPECT_THAT(guest.output(), Not(HasSubstr("slept")));
  ASSERT_TRUE(guest.vm().Resume().ok());
  EXPECT_TRUE(guest.AwaitOutput("echo: while it slept\n"));
}

TEST_P(Upcalls, AResetForgetsThem) {
  RunningVm guest(GuestConfig("events", "", 4, GetParam()));
  ASSERT_TRUE(guest.vm().Start().ok());
  AwaitReady(guest);
  ASSERT_TRUE(guest.vm().Pause().ok());
  EXPECT_TRUE(guest.vm().WriteConsole("of the first boot\n").ok());
  ASSERT_TRUE(guest.vm().Reset().ok());
  // The second boot starts every vCPU anew, and finds nothing typed.
  ASSERT_TRUE(guest.AwaitOutput("events: type lines", 2)) << guest.output();
  EXPECT_TRUE(guest.vm().WriteConsole("of the second\n").ok());
  EXPECT_TRUE(guest.AwaitOutput("echo: of the second\n"));
  EXPECT_THAT(guest.output(), AllOf(Not(HasSubstr("first boot")), Not(HasSubstr("FAIL"))));
}

TEST_P(Upcalls, AFaultThatNobodyTakesIsReported) {
  RunningVm guest(GuestConfig("faults", "null", 1, GetParam()));
  RunToEnd(guest);
  EXPECT_EQ(guest.vm().state(), State::kFailed);
  EXPECT_THAT(
      guest.vm().state_reason(),
      AllOf(HasSubstr("page fault (vector 14, error 0x"), HasSubstr("writing 0x10 at WriteNull"),
            HasSubstr(", vCPU 0: mov dword ptr [rax+0x10], 0x01")));
  EXPECT_THAT(guest.vm().failure_report(), AllOf(StartsWith(guest.vm().state_reason() + "\nrax "),
                                                 HasSubstr("\n> "), HasSubstr("c7401001000000")));
}

TEST_P(Upcalls, SoIsAnInvalidOpcode) {
  RunningVm guest(GuestConfig("faults", "undefined", 1, GetParam()));
  RunToEnd(guest);
  EXPECT_EQ(guest.vm().state(), State::kFailed);
  EXPECT_THAT(guest.vm().state_reason(),
              AllOf(HasSubstr("invalid opcode (vector 6) at Undefined"), HasSubstr(": ud2")));
}

TEST_P(Upcalls, OneThatWasTakenBackTakesNothing) {
  RunningVm guest(GuestConfig("faults", "taken-back", 1, GetParam()));
  RunToEnd(guest);
  EXPECT_EQ(guest.vm().state(), State::kFailed);
  EXPECT_THAT(guest.vm().state_reason(), HasSubstr("writing 0x10 at WriteNull"));
}

TEST_P(Upcalls, WithoutAStackTheVmFails) {
  RunningVm guest(GuestConfig("faults", "stack", 1, GetParam()));
  RunToEnd(guest);
  EXPECT_EQ(guest.vm().state(), State::kFailed);
  EXPECT_THAT(
      guest.vm().state_reason(),
      AllOf(StartsWith("double fault: invalid opcode (vector 6), and the stack at 0x140 cannot "
                       "be written: 0x140 is not"),
            HasSubstr("at Main+")));
}

TEST_P(Upcalls, ForAnEventAsWell) {
  RunningVm guest(GuestConfig("faults", "event-stack", 1, GetParam()));
  RunToEnd(guest);
  EXPECT_EQ(guest.vm().state(), State::kFailed);
  EXPECT_THAT(guest.vm().state_reason(),
              StartsWith("double fault: an event, and the stack at 0x140 cannot be written"));
}

TEST_P(Upcalls, AGuestMayScribbleOverItsInfo) {
  RunningVm guest(GuestConfig("faults", "scribble", 1, GetParam()));
  RunToEnd(guest);
  EXPECT_THAT(guest.output(), HasSubstr("faults: made it"));
  EXPECT_EQ(guest.vm().exit_status(), -1);
}

INSTANTIATE_TEST_SUITE_P(Engines, Upcalls, ::testing::ValuesIn(TestedEngines()), EngineName);

}  // namespace
}  // namespace trapline::vm

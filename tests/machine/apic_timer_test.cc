// SPDX-License-Identifier: Apache-2.0
// The local APIC's timer (SDM volume 3, section 10.5.4). It counts at 1 GHz of guest time.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/machine/board.h"

namespace trapline::machine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

constexpr uint64_t kHertz = 1'000'000'000;
constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint32_t kVector = 0x61, kLongCount = 4'000'000'000;

// Lets time pass until every timer that was due before now has been served: the timers of a board
// are served in the order of their deadlines, and vCPU 1's comes last.
void LetTimersRun(Board& board) {
  board.Enable(1);
  board.ApicWrite(1, apic::kLvtTimer, 0x70);
  board.ApicWrite(1, apic::kDivide, apic::kDivideBy1);
  board.ApicWrite(1, apic::kInitialCount, 1000);
  ASSERT_TRUE(board.AwaitInterrupt(1));
  ASSERT_THAT(board.Take(1), Optional(0x70));
  board.Eoi(1);
}

TEST(ApicTimer, CountsDownFromTheInitialCount) {
  Board board;
  board.ApicWrite(0, apic::kDivide, apic::kDivideBy1);
  board.ApicWrite(0, apic::kInitialCount, kLongCount);
  uint64_t start = board.ticks();
  EXPECT_EQ(board.Apic(0, apic::kCurrentCount), kLongCount);
  for (int i = 0; i < 3; ++i) {
    board.Advance(kMillisecond);
    EXPECT_NEAR(board.Apic(0, apic::kCurrentCount), kLongCount - board.Counted(start, kHertz), 2);
  }
  EXPECT_EQ(board.Apic(0, apic::kInitialCount), kLongCount);
}

TEST(ApicTimer, StandsStillWithTheClock) {
  Board board;
  board.ApicWrite(0, apic::kInitialCount, kLongCount);
  board.Advance(kMillisecond);
  uint32_t count = board.Apic(0, apic::kCurrentCount);
  EXPECT_EQ(board.Apic(0, apic::kCurrentCount), count);
}

TEST(ApicTimer, DividesByWhatTheDivideRegisterSays) {
  struct {
    uint32_t value, divisor;
  } const table[] = {{0x0, 2},  {0x1, 4},  {0x2, 8},   {0x3, 16},
                     {0x8, 32}, {0x9, 64}, {0xa, 128}, {0xb, 1}};
  for (auto [value, divisor] : table) {
    Board board;
    board.ApicWrite(0, apic::kDivide, value);
    board.ApicWrite(0, apic::kInitialCount, kLongCount);
    uint64_t start = board.ticks();
    board.Advance(kMillisecond / 2);
    uint64_t counted = board.Counted(start, kHertz) / divisor;
    EXPECT_NEAR(board.Apic(0, apic::kCurrentCount), kLongCount - counted, 2) << divisor;
  }
}

TEST(ApicTimer, OneShotFiresOnceAndStaysAtZero) {
  Board board(2);
  board.ApicWrite(0, apic::kLvtTimer, kVector);
  board.ApicWrite(0, apic::kInitialCount, 1000);
  ASSERT_TRUE(board.AwaitInterrupt());
  EXPECT_THAT(board.TakeAll(), ElementsAre(kVector));
  board.Eoi();
  EXPECT_EQ(board.Apic(0, apic::kCurrentCount), 0u);
  EXPECT_EQ(board.Apic(0, apic::kInitialCount), 1000u);
  LetTimersRun(board);
  EXPECT_FALSE(board.Pending());
}

TEST(ApicTimer, OneShotDoesNotFireBeforeItsTime) {
  Board board(2);
  board.ApicWrite(0, apic::kLvtTimer, kVector);
  board.ApicWrite(0, apic::kDivide, 0xa);
  board.ApicWrite(0, apic::kInitialCount, kLongCount);  // in more than eight minutes
  LetTimersRun(board);
  EXPECT_FALSE(board.Pending());
  EXPECT_NE(board.Apic(0, apic::kCurrentCount), 0u);
}

TEST(ApicTimer, PeriodicFiresAgainAndAgain) {
  Board board;
  board.ApicWrite(0, apic::kLvtTimer, apic::kPeriodic | kVector);
  board.ApicWrite(0, apic::kDivide, apic::kDivideBy1);
  board.ApicWrite(0, apic::kInitialCount, 100'000);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(board.AwaitInterrupt());
    EXPECT_THAT(board.TakeAll(), ElementsAre(kVector));
    board.Eoi();
  }
  EXPECT_LE(board.Apic(0, apic::kCurrentCount), 100'000u);
}

TEST(ApicTimer, PeriodicCountsRoundAndRound) {
  Board board;
  constexpr uint32_t kCount = 100'000;
  board.ApicWrite(0, apic::kLvtTimer, apic::kMasked | apic::kPeriodic | kVector);
  board.ApicWrite(0, apic::kDivide, apic::kDivideBy1);
  board.ApicWrite(0, apic::kInitialCount, kCount);
  uint64_t start = board.ticks();
  for (int i = 0; i < 5; ++i) {
    board.Advance(kMillisecond);
    // A period is a whole number of ticks, and so a little shorter than it says.
    uint64_t period = board.clock.NanosecondsToTicks(kCount), passed = board.ticks() - start;
    EXPECT_NEAR(board.Apic(0, apic::kCurrentCount),
                kCount - base::MultiplyDivide(passed % period, kCount, period), 2);
  }
}

TEST(ApicTimer, AnInitialCountOfZeroStopsIt) {
  Board board(2);
  board.ApicWrite(0, apic::kLvtTimer, apic::kPeriodic | kVector);
  board.ApicWrite(0, apic::kInitialCount, 1000);
  board.ApicWrite(0, apic::kInitialCount, 0);
  EXPECT_EQ(board.Apic(0, apic::kCurrentCount), 0u);
  LetTimersRun(board);
  EXPECT_FALSE(board.Pending());
}

TEST(ApicTimer, AMaskedTimerSaysNothing) {
  Board board(2);
  board.ApicWrite(0, apic::kLvtTimer, apic::kMasked | kVector);
  board.ApicWrite(0, apic::kInitialCount, 100);
  LetTimersRun(board);
  board.ApicWrite(0, apic::kLvtTimer, kVector);
  EXPECT_FALSE(board.Pending()) << "and what was missed does not come later";
}

TEST(ApicTimer, IsSilentWhileTheApicIsDisabled) {
  Board board(2);
  board.ApicWrite(0, apic::kLvtTimer, kVector);
  board.ApicWrite(0, apic::kInitialCount, 100);
  board.ApicWrite(0, apic::kSvr, 0xff);
  LetTimersRun(board);
  board.Enable(0);
  EXPECT_FALSE(board.Pending());
}

TEST(ApicTimer, ADeadlineFiresOnceAndReadsAsZeroAfterwards) {
  Board board(2);
  board.ApicWrite(0, apic::kLvtTimer, apic::kTscDeadline | kVector);
  uint64_t deadline = board.ticks() + board.clock.NanosecondsToTicks(kMillisecond);
  ASSERT_TRUE(board.SetMsr(0, apic::kDeadlineMsr, deadline));
  EXPECT_FALSE(board.Pending());
  EXPECT_THAT(board.Msr(0, apic::kDeadlineMsr), Optional(deadline));
  ASSERT_TRUE(board.AwaitInterrupt());
  EXPECT_GE(board.ticks(), deadline);
  EXPECT_THAT(board.TakeAll(), ElementsAre(kVector));
  board.Eoi();
  EXPECT_THAT(board.Msr(0, apic::kDeadlineMsr), Optional(0u));
  LetTimersRun(board);
  EXPECT_FALSE(board.Pending());
}

TEST(ApicTimer, APastDeadlineFiresAtOnce) {
  Board board;
  board.Advance(1000);
  board.ApicWrite(0, apic::kLvtTimer, apic::kTscDeadline | kVector);
  ASSERT_TRUE(board.SetMsr(0, apic::kDeadlineMsr, board.ticks()));
  EXPECT_THAT(board.TakeAll(), ElementsAre(kVector)) << "now is past";
  board.Eoi();
  ASSERT_TRUE(board.SetMsr(0, apic::kDeadlineMsr, 1));
  EXPECT_THAT(board.TakeAll(), ElementsAre(kVector));
  EXPECT_THAT(board.Msr(0, apic::kDeadlineMsr), Optional(0u));
}

TEST(ApicTimer, ADeadlineOfZeroDisarms) {
  Board board(2);
  board.ApicWrite(0, apic::kLvtTimer, apic::kTscDeadline | kVector);
  board.SetMsr(0, apic::kDeadlineMsr, board.ticks() + 1000);
  board.SetMsr(0, apic::kDeadlineMsr, 0);
  EXPECT_THAT(board.Msr(0, apic::kDeadlineMsr), Optional(0u));
  LetTimersRun(board);
  EXPECT_FALSE(board.Pending());
}

TEST(ApicTimer, AMaskedDeadlinePassesInSilence) {
  Board board;
  board.Advance(1000);
  board.ApicWrite(0, apic::kLvtTimer, apic::kMasked | apic::kTscDeadline | kVector);
  board.SetMsr(0, apic::kDeadlineMsr, 1);
  EXPECT_FALSE(board.Pending());
  EXPECT_THAT(board.Msr(0, apic::kDeadlineMsr), Optional(0u));
}

TEST(ApicTimer, TheDeadlineIsNothingInTheOtherModes) {
  Board board;
  board.Advance(1000);
  board.ApicWrite(0, apic::kLvtTimer, kVector);
  EXPECT_TRUE(board.SetMsr(0, apic::kDeadlineMsr, 1)) << "ignored, without a fault";
  EXPECT_FALSE(board.Pending());
  EXPECT_THAT(board.Msr(0, apic::kDeadlineMsr), Optional(0u));
}

TEST(ApicTimer, TheInitialCountIsNothingInDeadlineMode) {
  Board board(2);
  board.ApicWrite(0, apic::kLvtTimer, apic::kTscDeadline | kVector);
  board.ApicWrite(0, apic::kInitialCount, 1000);
  EXPECT_EQ(board.Apic(0, apic::kCurrentCount), 0u);
  LetTimersRun(board);
  EXPECT_FALSE(board.Pending());
}

TEST(ApicTimer, GoingIntoOrOutOfDeadlineModeDisarms) {
  Board board(2);
  board.ApicWrite(0, apic::kLvtTimer, kVector);
  board.ApicWrite(0, apic::kInitialCount, 1000);
  board.ApicWrite(0, apic::kLvtTimer, apic::kTscDeadline | kVector);
  LetTimersRun(board);
  EXPECT_FALSE(board.Pending());
  board.SetMsr(0, apic::kDeadlineMsr, board.ticks() + 1000);
  board.ApicWrite(0, apic::kLvtTimer, kVector);
  LetTimersRun(board);
  EXPECT_FALSE(board.Pending());
}

TEST(ApicTimer, AnIllegalVectorIsAnErrorWhenItFires) {
  Board board;
  board.Advance(1000);
  board.ApicWrite(0, apic::kLvtTimer, apic::kTscDeadline | 0x0e);
  board.SetMsr(0, apic::kDeadlineMsr, 1);
  EXPECT_FALSE(board.Pending());
  EXPECT_EQ(board.Errors(0), 1u << 6) << "receive illegal vector, of the local vector table too";
}

TEST(ApicTimer, EachVcpuHasItsOwn) {
  Board board(2);
  board.EnableAll();
  board.ApicWrite(1, apic::kLvtTimer, kVector);
  board.ApicWrite(1, apic::kInitialCount, 1000);
  ASSERT_TRUE(board.AwaitInterrupt(1));
  EXPECT_THAT(board.TakeAll(1), ElementsAre(kVector));
  EXPECT_THAT(board.TakeAll(0), IsEmpty());
}

// What is wrong here shows as a crash, or to the sanitizers.
TEST(ApicTimer, ABoardMayGoWhileItsTimersRun) {
  constexpr uint32_t kVcpus = 64;
  base::VmClock clock;
  for (int i = 0; i < 50; ++i) {
    auto nothing = [](auto...) {};
    Platform platform(kVcpus, clock,
                      {nothing, nothing, nothing, nothing, nothing, nothing, nothing});
    auto write = [&](uint32_t vcpu, uint32_t offset, uint32_t value) {
      platform.WriteMmio(vcpu, layout::kLocalApicBase + offset, 4, value);
    };
    clock.Start();
    platform.OnClockChanged();
    for (uint32_t vcpu = 0; vcpu < kVcpus; ++vcpu) {
      write(vcpu, apic::kSvr, apic::kEnabled);
      write(vcpu, apic::kLvtTimer, apic::kPeriodic | kVector);
      write(vcpu, apic::kInitialCount, 100 + vcpu);
    }
    for (bool fired = false; !fired; std::this_thread::yield()) {
      for (uint32_t vcpu = 0; vcpu < kVcpus; ++vcpu) fired |= platform.InterruptPending(vcpu);
    }
  }
}

}  // namespace
}  // namespace trapline::machine

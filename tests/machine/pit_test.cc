// SPDX-License-Identifier: Apache-2.0
// The interval timer (8254 datasheet). Its counts are compared with those of the stopped clock.
#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/machine/board.h"

namespace trapline::machine {
namespace {

using testing::ElementsAre;

constexpr uint16_t kControl = layout::kPit + 3;
constexpr uint64_t kMicrosecond = 1'000, kMillisecond = 1'000'000;
constexpr uint8_t kLow = 0x10, kHigh = 0x20, kWord = 0x30, kBcd = 1;
constexpr uint8_t kOutput = 0x80, kNullCount = 0x40;
constexpr uint8_t kGate = 1, kSpeaker = 2, kOutput2 = 0x20;

constexpr uint8_t Mode(unsigned mode) { return static_cast<uint8_t>(mode << 1); }
constexpr uint8_t Select(unsigned channel) { return static_cast<uint8_t>(channel << 6); }

class PitTest : public testing::Test {
 protected:
  void Control(uint8_t value) { board_.Out(kControl, value); }
  void WriteByte(unsigned channel, uint8_t value) {
    board_.Out(static_cast<uint16_t>(layout::kPit + channel), value);
  }
  uint8_t ReadByte(unsigned channel) {
    return static_cast<uint8_t>(board_.In(static_cast<uint16_t>(layout::kPit + channel)));
  }
  // Programs a channel by words and starts it.
  void Program(unsigned channel, unsigned mode, uint16_t count) {
    Control(Select(channel) | kWord | Mode(mode));
    WriteWord(channel, count);
  }
  void WriteWord(unsigned channel, uint16_t count) {
    WriteByte(channel, static_cast<uint8_t>(count));
    WriteByte(channel, static_cast<uint8_t>(count >> 8));
    start_ = board_.ticks();
  }
  uint16_t ReadWord(unsigned channel) {
    uint16_t low = ReadByte(channel);
    return static_cast<uint16_t>(low | ReadByte(channel) << 8);
  }
  uint8_t Status(unsigned channel) {
    Control(static_cast<uint8_t>(0xe0 | 2 << channel));
    return ReadByte(channel);
  }
  // Clocks since the count was written.
  uint64_t Clocks() const { return board_.Counted(start_, Pit::kHertz); }
  void Gate(bool open) { board_.Out(layout::kSystemControlB, open ? kGate : 0); }
  bool Output2() { return board_.In(layout::kSystemControlB) & kOutput2; }

  Board board_;
  uint64_t start_ = 0;
};

TEST_F(PitTest, ModeZeroCountsDownOnceAndOn) {
  Program(0, 0, 1000);
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(static_cast<int16_t>(ReadWord(0)),
                static_cast<int16_t>(1000 - static_cast<int64_t>(Clocks())), 1);
    board_.Advance(600 * kMicrosecond);
  }
}

TEST_F(PitTest, ModeZeroRaisesItsOutputAtTheEnd) {
  Control(Select(2) | kWord | Mode(0));
  EXPECT_FALSE(Status(2) & kOutput) << "low from the control word on";
  Gate(true);
  WriteWord(2, 60);
  EXPECT_FALSE(Output2());
  board_.Advance(100 * kMicrosecond);
  EXPECT_TRUE(Output2());
  EXPECT_TRUE(Status(2) & kOutput);
  Control(Select(2) | kWord | Mode(0));
  EXPECT_FALSE(Output2()) << "until it is programmed anew";
}

TEST_F(PitTest, ModeZeroLowersItsOutputWithTheFirstByteOfACount) {
  Gate(true);
  Program(2, 0, 60);
  board_.Advance(100 * kMicrosecond);
  ASSERT_TRUE(Output2());
  WriteByte(2, 0);
  EXPECT_FALSE(Output2());
}

TEST_F(PitTest, ModeTwoCountsRoundAndRound) {
  Program(0, 2, 100);
  for (int i = 0; i < 5; ++i) {
    board_.Advance(137 * kMicrosecond);
    int count = ReadWord(0), expected = static_cast<int>(100 - Clocks() % 100);
    EXPECT_TRUE(std::abs(count - expected) <= 1 || std::abs(count - expected) >= 98)
        << count << ", not " << expected;
    EXPECT_GE(count, 1);
    EXPECT_LE(count, 100);
  }
}

TEST_F(PitTest, ModeThreeCountsByTwos) {
  Program(0, 3, 1000);
  for (int i = 0; i < 5; ++i) {
    board_.Advance(437 * kMicrosecond);
    int count = ReadWord(0), expected = static_cast<int>(1000 - 2 * Clocks() % 1000);
    EXPECT_TRUE(std::abs(count - expected) <= 2 || std::abs(count - expected) >= 996)
        << count << ", not " << expected;
  }
}

TEST_F(PitTest, ModeThreeIsHighForTheFirstHalf) {
  Gate(true);
  Program(2, 3, 0);
  uint64_t half = 0x8000;
  for (int i = 0; i < 8; ++i) {
    board_.Advance(7 * kMillisecond);
    uint64_t place = Clocks() % (2 * half);
    if (place < 2 || place > 2 * half - 3 || (place > half - 3 && place < half + 2)) continue;
    EXPECT_EQ(Output2(), place < half) << place;
  }
}

TEST_F(PitTest, ModeThreeCountsEvenNumbersOfAnOddCount) {
  Program(0, 3, 1001);
  for (int i = 0; i < 12; ++i) {
    board_.Advance(101 * kMicrosecond);
    EXPECT_EQ(ReadWord(0) % 2, 0) << "one less is loaded, then it goes by twos";
  }
}

TEST_F(PitTest, ACountOfZeroIsTheLongest) {
  Program(0, 2, 0);
  board_.Advance(kMillisecond);
  EXPECT_NEAR(ReadWord(0), static_cast<double>((0x10000 - Clocks() % 0x10000) & 0xffff), 1);
}

TEST_F(PitTest, BinaryCodedDecimalCounts) {
  Gate(true);
  Control(Select(2) | kWord | Mode(2) | kBcd);
  WriteWord(2, 0x0100);
  for (int i = 0; i < 5; ++i) {
    board_.Advance(137 * kMicrosecond);
    uint16_t count = ReadWord(2);
    EXPECT_LE(count, 0x0100);
    EXPECT_LE(count & 0xf, 9) << std::hex << count;
    EXPECT_LE(count >> 4 & 0xf, 9) << std::hex << count;
  }
}

TEST_F(PitTest, LowAndHighBytesByThemselves) {
  Control(Select(0) | kLow | Mode(0));
  WriteByte(0, 0x34);
  EXPECT_EQ(ReadByte(0), 0x34);
  EXPECT_EQ(ReadByte(0), 0x34) << "the low byte each time";
  Control(Select(0) | kHigh | Mode(0));
  WriteByte(0, 0x12);
  EXPECT_EQ(ReadByte(0), 0x12);
  EXPECT_EQ(ReadByte(0), 0x12);
  Program(0, 0, 0x5678);
  EXPECT_EQ(ReadWord(0), 0x5678);
  EXPECT_EQ(ReadWord(0), 0x5678);
}

TEST_F(PitTest, AWordStartsWithItsSecondByte) {
  Control(Select(0) | kWord | Mode(2));
  WriteByte(0, 0x34);
  EXPECT_TRUE(Status(0) & kNullCount);
  WriteByte(0, 0x12);
  board_.Advance(10 * kMicrosecond);  // it is loaded with the next clock
  EXPECT_FALSE(Status(0) & kNullCount);
}

TEST_F(PitTest, ALatchedCountStaysUntilItIsRead) {
  Program(0, 0, 0xf000);
  board_.Advance(100 * kMicrosecond);
  uint16_t count = ReadWord(0);
  Control(Select(0));
  board_.Advance(kMillisecond);
  EXPECT_EQ(ReadWord(0), count);
  EXPECT_NE(ReadWord(0), count) << "it was read";
}

TEST_F(PitTest, ASecondLatchIsIgnored) {
  Program(0, 0, 0xf000);
  board_.Advance(100 * kMicrosecond);
  uint16_t count = ReadWord(0);
  Control(Select(0));
  board_.Advance(kMillisecond);
  Control(Select(0));
  EXPECT_EQ(ReadWord(0), count) << "the count of the first";
}

TEST_F(PitTest, ReadBackLatchesSeveralCounts) {
  Gate(true);
  Program(0, 0, 0xf000);
  Program(2, 0, 0xe000);
  board_.Advance(100 * kMicrosecond);
  uint16_t first = ReadWord(0), second = ReadWord(2);
  Control(0xd0 | 2 << 0 | 2 << 2);  // counts of channels 0 and 2
  board_.Advance(kMillisecond);
  EXPECT_EQ(ReadWord(0), first);
  EXPECT_EQ(ReadWord(2), second);
}

TEST_F(PitTest, ReadBackGivesTheStatusBeforeTheCount) {
  Program(0, 2, 0x4000);
  board_.Advance(10 * kMicrosecond);
  uint16_t count = ReadWord(0);
  Control(0xc0 | 2 << 0);  // status and count
  board_.Advance(kMillisecond);
  EXPECT_EQ(ReadByte(0) & ~kOutput, kWord | Mode(2));
  EXPECT_EQ(ReadWord(0), count);
}

TEST_F(PitTest, TheStatusTellsModeAndAccessAsWritten) {
  for (uint8_t control : {kLow | Mode(0), kHigh | Mode(1), kWord | Mode(4), kLow | Mode(5) | kBcd,
                          kWord | Mode(6), kWord | Mode(7)}) {
    Control(control);
    EXPECT_EQ(Status(0) & 0x3f, control) << std::hex << +control;
  }
}

TEST_F(PitTest, ASecondLatchOfTheStatusIsIgnored) {
  Control(Select(0) | kWord | Mode(2));
  Control(0xe0 | 2 << 0);
  WriteWord(0, 0x1000);
  board_.Advance(10 * kMicrosecond);
  Control(0xe0 | 2 << 0);
  EXPECT_TRUE(ReadByte(0) & kNullCount) << "as it was at the first";
  EXPECT_FALSE(Status(0) & kNullCount);
}

TEST_F(PitTest, AClosedGateStopsTheCount) {
  Gate(false);
  Program(2, 0, 0xf000);
  board_.Advance(kMillisecond);
  EXPECT_NEAR(ReadWord(2), 0xf000, 1);
  Gate(true);
  board_.Advance(kMillisecond);
  EXPECT_LT(ReadWord(2), 0xf000 - 1000);
  Gate(false);
  uint16_t stopped = ReadWord(2);
  board_.Advance(kMillisecond);
  EXPECT_EQ(ReadWord(2), stopped);
}

TEST_F(PitTest, ModeZeroGoesOnWhenTheGateOpensAgain) {
  Gate(true);
  Program(2, 0, 0xf000);
  board_.Advance(kMillisecond);
  Gate(false);
  uint16_t stopped = ReadWord(2);
  Gate(true);
  EXPECT_NEAR(ReadWord(2), stopped, 1) << "it is not loaded again";
}

TEST_F(PitTest, ModeTwoStartsAgainWhenTheGateOpens) {
  Gate(true);
  Program(2, 2, 0xf000);
  board_.Advance(kMillisecond);
  Gate(false);
  EXPECT_TRUE(Output2()) << "high while the gate is closed";
  Gate(true);
  start_ = board_.ticks();
  board_.Advance(100 * kMicrosecond);
  EXPECT_NEAR(ReadWord(2), static_cast<double>(0xf000 - Clocks() % 0xf000), 1);
}

TEST_F(PitTest, ModeOneIsStartedByTheGate) {
  Gate(false);
  Program(2, 1, 60);
  EXPECT_TRUE(Output2()) << "high until it is triggered";
  board_.Advance(100 * kMicrosecond);
  EXPECT_TRUE(Output2());
  Gate(true);
  board_.Advance(1 * kMicrosecond);
  Gate(false);
  board_.Advance(100 * kMicrosecond);
  EXPECT_TRUE(Output2()) << "the pulse is over";
  Gate(true);
  start_ = board_.ticks();
  board_.Advance(2 * kMicrosecond);
  if (Clocks() > 1 && Clocks() < 50) {
    EXPECT_FALSE(Output2()) << "low for the count";
  }
}

TEST_F(PitTest, ANewCountOfModeTwoWaitsForTheEndOfThePeriod) {
  uint16_t count;
  do {  // until the machine lets us look within the first period
    Program(0, 2, 0xf000);
    board_.Advance(kMillisecond);
    uint64_t start = start_;
    WriteWord(0, 100);
    count = ReadWord(0);
    start_ = start;
  } while (Clocks() >= 0xf000);
  EXPECT_NEAR(count, static_cast<double>(0xf000 - Clocks()), 1);
}

TEST_F(PitTest, SystemControlBKeepsGateAndSpeaker) {
  for (uint8_t value : {0, 1, 2, 3}) {
    board_.Out(layout::kSystemControlB, value);
    EXPECT_EQ(board_.In(layout::kSystemControlB) & (kGate | kSpeaker), value);
  }
  uint32_t before = board_.In(layout::kSystemControlB);
  EXPECT_EQ(board_.In(layout::kSystemControlB), before) << "refresh stands still with the clock";
}

TEST_F(PitTest, ThePeriodicInterruptArrives) {
  board_.Redirect(layout::kTimerIoApicPin, 0x42);
  Program(0, 2, 1193);  // a kilohertz
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(board_.AwaitInterrupt());
    EXPECT_THAT(board_.TakeAll(), ElementsAre(0x42));
    board_.Eoi();
  }
  EXPECT_GE(Clocks(), 5u * 1193) << "and not before its time";
}

TEST_F(PitTest, TheOneShotInterruptArrivesByThePicToo) {
  board_.Out(layout::kPicMaster + 1, 0xfe);
  Program(0, 0, 1000);
  ASSERT_TRUE(board_.AwaitInterrupt());
  EXPECT_GE(Clocks(), 1000u);
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x08));
}

TEST_F(PitTest, AControlWordEndsThePeriodicInterrupt) {
  board_.Redirect(layout::kTimerIoApicPin, 0x42);
  Program(0, 2, 100);
  Control(Select(0) | kWord | Mode(0));
  board_.ApicWrite(0, apic::kLvtTimer, 0x41);
  board_.ApicWrite(0, apic::kInitialCount, 1'000'000);
  ASSERT_TRUE(board_.AwaitInterrupt()) << "a timer that comes later";
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x41));
}

}  // namespace
}  // namespace trapline::machine

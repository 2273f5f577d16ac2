// SPDX-License-Identifier: Apache-2.0
// The real-time clock and its memory (MC146818 datasheet).
#include <time.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/machine/board.h"

namespace trapline::machine {
namespace {

constexpr uint8_t kSeconds = 0, kMinutes = 2, kHours = 4, kWeekday = 6, kDay = 7, kMonth = 8,
                  kYear = 9, kA = 0x0a, kB = 0x0b, kC = 0x0c, kD = 0x0d, kCentury = 0x32;
constexpr uint8_t k24Hours = 2, kBinary = 4;

uint8_t Read(Board& board, uint8_t index) {
  board.Out(layout::kRtc, index);
  return static_cast<uint8_t>(board.In(layout::kRtc + 1));
}
void Write(Board& board, uint8_t index, uint8_t value) {
  board.Out(layout::kRtc, index);
  board.Out(layout::kRtc + 1, value);
}
int FromBcd(uint8_t value) {
  EXPECT_LE(value & 0xf, 9);
  EXPECT_LE(value >> 4, 9);
  return (value >> 4) * 10 + (value & 0xf);
}

// Does something while the host's second stays the same, so that what it read is one time.
template <typename F>
time_t WithinASecond(F f) {
  for (;;) {
    time_t before = time(nullptr);
    f();
    if (time(nullptr) == before) return before;
  }
}

void ExpectTheHostsTime(int (*decode)(uint8_t), uint8_t b) {
  Board board;
  Write(board, kB, b);
  tm read{};
  int century = 0, weekday = 0;
  time_t now = WithinASecond([&] {
    auto get = [&](uint8_t index) { return decode(Read(board, index)); };
    century = get(kCentury);
    weekday = get(kWeekday);
    read.tm_year = century * 100 + get(kYear) - 1900;
    read.tm_mon = get(kMonth) - 1;
    read.tm_mday = get(kDay);
    read.tm_hour = get(kHours);
    read.tm_min = get(kMinutes);
    read.tm_sec = get(kSeconds);
  });
  EXPECT_NEAR(static_cast<double>(timegm(&read)), static_cast<double>(now), 3);
  EXPECT_EQ(weekday, read.tm_wday + 1) << "Sunday is 1";
}

TEST(Rtc, TellsTheHostsTimeInBcd) { ExpectTheHostsTime(FromBcd, k24Hours); }

TEST(Rtc, TellsTheHostsTimeInBinary) {
  ExpectTheHostsTime([](uint8_t value) { return static_cast<int>(value); }, k24Hours | kBinary);
}

TEST(Rtc, CountsTwelveHoursWithABitForTheAfternoon) {
  Board board;
  Write(board, kB, kBinary);
  uint8_t hours = 0;
  time_t now = WithinASecond([&] { hours = Read(board, kHours); });
  tm utc;
  gmtime_r(&now, &utc);
  int of_twelve = utc.tm_hour % 12 == 0 ? 12 : utc.tm_hour % 12;
  EXPECT_EQ(hours, of_twelve | (utc.tm_hour >= 12 ? 0x80 : 0));
}

TEST(Rtc, KeepsItsMemory) {
  Board board;
  for (uint8_t index = 0x0e; index < 0x80; ++index) {
    if (index == kCentury) continue;
    Write(board, index, static_cast<uint8_t>(index ^ 0xa5));
  }
  for (uint8_t index = 0x0e; index < 0x80; ++index) {
    if (index == kCentury) continue;
    EXPECT_EQ(Read(board, index), index ^ 0xa5) << +index;
  }
}

TEST(Rtc, KeepsTheAlarm) {
  Board board;
  for (uint8_t index : {1, 3, 5}) {
    Write(board, index, 0x17);
    EXPECT_EQ(Read(board, index), 0x17) << +index;
  }
}

TEST(Rtc, TheTopBitOfTheIndexIsTheNmiMask) {
  Board board;
  Write(board, 0x40, 0x5a);
  EXPECT_EQ(Read(board, 0x80 | 0x40), 0x5a);
  Write(board, 0x80 | 0x41, 0x6b);
  EXPECT_EQ(Read(board, 0x41), 0x6b);
}

TEST(Rtc, IsNeverInTheMiddleOfAnUpdate) {
  Board board;
  Write(board, kA, 0xa6);
  EXPECT_EQ(Read(board, kA), 0x26) << "the bit is read-only, the rest is kept";
}

TEST(Rtc, RegisterCHasNoMoreThanFlags) {
  Board board;
  Write(board, kC, 0xff);
  EXPECT_EQ(Read(board, kC) & 0x0f, 0);
  EXPECT_EQ(Read(board, kC) & 0x80, 0) << "no interrupt was enabled";
}

TEST(Rtc, RegisterDSaysThatTimeAndMemoryAreValid) {
  Board board;
  EXPECT_EQ(Read(board, kD), 0x80);
  Write(board, kD, 0);
  EXPECT_EQ(Read(board, kD), 0x80);
}

}  // namespace
}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// Address decoding, resets, power management (ACPI 6.4, section 4.8), the small devices.
#include <atomic>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/machine/board.h"

namespace trapline::machine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

constexpr uint16_t kStatus = layout::kPm1Event, kEnable = layout::kPm1Event + 2;
constexpr uint16_t kPowerButton = 1 << 8, kSleepEnable = 1 << 13;
constexpr uint32_t kLevel = 1 << 15, kRemoteIrr = 1 << 14;
constexpr uint32_t kSleep5 = layout::kS5SleepType << 10;

// ---- Nobody there ----

TEST(Ports, ReadAsOnesWhereNobodyIs) {
  Board board;
  for (uint16_t port : {0x0000, 0x0300, 0x1234, 0xfff0}) {
    EXPECT_EQ(board.In(port, 1), 0xffu) << port;
    EXPECT_EQ(board.In(port, 2), 0xffffu) << port;
    EXPECT_EQ(board.In(port, 4), 0xffffffffu) << port;
    for (unsigned size : {1, 2, 4}) board.Out(port, 0, size);
    EXPECT_EQ(board.In(port, 4), 0xffffffffu) << port;
  }
}

TEST(Ports, AccessesAtTheEndOfTheSpace) {
  Board board;
  EXPECT_EQ(board.In(0xffff, 4), 0xffffffffu);
  EXPECT_EQ(board.In(0xffff, 2), 0xffffu);
  board.Out(0xffff, 0, 4);
  board.Out(0xffff, 0xffffffff, 4);
  EXPECT_THAT(board.told().reset, IsEmpty());
}

TEST(Ports, AnAccessThatStraddlesReachesBoth) {
  Board board;
  board.Com1(7, 0x5a);
  EXPECT_EQ(board.In(layout::kCom1 + 7, 2), 0xff5au);
  EXPECT_EQ(board.In(layout::kCom1 - 1, 2), 0x00ffu) << "no byte was received";
  board.Out(layout::kRtc, 0x77 << 8 | 0x40, 2);  // index and data at once
  EXPECT_EQ(board.In(layout::kRtc + 1), 0x77u);
  board.Out(layout::kTestRegister + 3, 0xaabb, 2);
  EXPECT_EQ(board.In(layout::kTestRegister + 3, 2), 0xffbbu);
}

TEST(Ports, AnAccessThatStraddlesPowerManagementReachesBoth) {
  Board board;
  board.Out(kEnable, kPowerButton, 2);
  board.platform.PowerButton();
  EXPECT_EQ(board.In(kStatus - 2, 4), kPowerButton << 16 | 0xffffu);
  EXPECT_EQ(board.In(layout::kPmTimer + 2, 4) >> 16, 0xffffu) << "behind the timer is nothing";
}

TEST(Mmio, ReadsAsOnesWhereNobodyIs) {
  Board board;
  for (uint64_t gpa : {uint64_t{0xfd000000}, uint64_t{0xfec01000}, uint64_t{0xfffffffff8}}) {
    EXPECT_EQ(board.platform.ReadMmio(0, gpa, 1), 0xffu);
    EXPECT_EQ(board.platform.ReadMmio(0, gpa, 2), 0xffffu);
    EXPECT_EQ(board.platform.ReadMmio(0, gpa, 4), 0xffffffffu);
    EXPECT_EQ(board.platform.ReadMmio(0, gpa, 8), ~uint64_t{0});
    for (unsigned size : {1, 2, 4, 8}) board.platform.WriteMmio(0, gpa, size, 0);
  }
}

TEST(Mmio, WholeRegistersAnswerToEverySizeAndAreLeftAloneInBetween) {
  Board board;
  board.ApicWrite(0, apic::kTpr, 0x35);
  for (uint32_t inside : {1, 2, 4, 8, 0xc}) {
    for (unsigned size : {1, 2, 4, 8}) {
      board.platform.WriteMmio(0, layout::kLocalApicBase + apic::kTpr + inside, size, 0);
      board.platform.ReadMmio(0, layout::kLocalApicBase + apic::kTpr + inside, size);
    }
  }
  EXPECT_EQ(board.Apic(0, apic::kTpr), 0x35u);
  EXPECT_EQ(board.platform.ReadMmio(0, layout::kLocalApicBase + apic::kTpr, 8) & 0xffffffff, 0x35u);
  for (uint64_t gpa : {layout::kLocalApicBase, layout::kIoApicBase}) {
    for (unsigned size : {1, 2, 4, 8}) board.platform.ReadMmio(0, gpa + 0xffc, size);
  }
}

// ---- Resets ----

TEST(Resets, ByTheKeyboardController) {
  Board board;
  board.Out(layout::kKeyboardCommand, 0xff);
  EXPECT_THAT(board.told().reset, IsEmpty());
  board.Out(layout::kKeyboardCommand, 0xfe);
  EXPECT_EQ(board.told().reset.size(), 1u);
}

TEST(Resets, ByTheFastReset) {
  Board board;
  EXPECT_TRUE(board.In(layout::kSystemControlA) & 2) << "A20 is open";
  board.Out(layout::kSystemControlA, 2);
  EXPECT_THAT(board.told().reset, IsEmpty());
  board.Out(layout::kSystemControlA, 3);
  EXPECT_EQ(board.told().reset.size(), 1u);
}

TEST(Resets, ByTheResetRegister) {
  Board board;
  board.Out(layout::kResetControl, 2);
  EXPECT_THAT(board.told().reset, IsEmpty()) << "this only chooses a kind";
  board.Out(layout::kResetControl, layout::kResetValue);
  EXPECT_EQ(board.told().reset.size(), 1u);
}

TEST(Resets, NotByThePciAddressRegister) {
  Board board;
  board.Out(layout::kPciAddress, 0x80000600, 4);
  EXPECT_THAT(board.told().reset, IsEmpty());
  EXPECT_EQ(board.In(layout::kPciAddress + 4, 4), 0xffffffffu) << "there is no device";
}

// ---- Power ----

TEST(Power, SleepStateFiveTurnsOff) {
  Board board;
  board.Out(layout::kPm1Control, kSleep5 | 1, 2);
  EXPECT_EQ(board.told().power_off, 0) << "not without the enable bit";
  board.Out(layout::kPm1Control, 1 << 10 | kSleepEnable, 2);
  EXPECT_EQ(board.told().power_off, 0) << "another sleep type";
  board.Out(layout::kPm1Control, kSleep5 | kSleepEnable | 1, 2);
  EXPECT_EQ(board.told().power_off, 1);
  EXPECT_FALSE(board.In(layout::kPm1Control, 2) & kSleepEnable) << "it is write-only";
}

TEST(Power, SleepStateFiveByTheUpperByte) {
  Board board;
  board.Out(layout::kPm1Control + 1, (kSleep5 | kSleepEnable) >> 8);
  EXPECT_EQ(board.told().power_off, 1);
}

TEST(Power, TheBoardIsInAcpiMode) {
  Board board;
  EXPECT_TRUE(board.In(layout::kPm1Control, 2) & 1);
  board.Out(layout::kPm1Control, 0, 2);
  EXPECT_TRUE(board.In(layout::kPm1Control, 2) & 1) << "there is no other";
}

TEST(Power, TheButtonRaisesItsStatusAndIfEnabledTheLine) {
  Board board;
  board.Redirect(layout::kSciLine, kLevel | 0x49);
  board.platform.PowerButton();
  EXPECT_EQ(board.In(kStatus, 2), kPowerButton);
  EXPECT_FALSE(board.Pending());
  board.Out(kEnable, kPowerButton, 2);
  EXPECT_EQ(board.In(kEnable, 2), kPowerButton);
  EXPECT_THAT(board.Take(), Optional(0x49));
  board.Out(kStatus, static_cast<uint16_t>(~kPowerButton), 2);
  EXPECT_EQ(board.In(kStatus, 2), kPowerButton) << "a zero leaves it";
  board.Out(kStatus, kPowerButton, 2);
  EXPECT_EQ(board.In(kStatus, 2), 0u) << "a one clears it";
  board.Eoi();
  EXPECT_FALSE(board.Pending());
  EXPECT_FALSE(board.IoApic(0x10 + 2 * layout::kSciLine) & kRemoteIrr);
}

TEST(Power, StatusAndEnableByBytesAndTogether) {
  Board board;
  board.platform.PowerButton();
  board.Out(kEnable + 1, kPowerButton >> 8);
  EXPECT_EQ(board.In(kEnable, 2), kPowerButton);
  EXPECT_EQ(board.In(kStatus, 4), kPowerButton << 16 | kPowerButton);
  EXPECT_EQ(board.In(kStatus + 1, 1), 1u);
  board.Out(kStatus, 0xff);
  EXPECT_EQ(board.In(kStatus, 2), kPowerButton) << "the other byte";
  board.Out(kStatus, kPowerButton, 4);
  EXPECT_EQ(board.In(kStatus, 4), 0u);
}

TEST(Power, TheTimerIsTheClocks) {
  Board board;
  for (int i = 0; i < 3; ++i) {
    auto expected = static_cast<uint32_t>(board.Counted(0, 3'579'545));
    EXPECT_EQ(board.In(layout::kPmTimer, 4), expected) << "and stands still with it";
    for (unsigned byte = 0; byte < 4; ++byte) {
      EXPECT_EQ(board.In(static_cast<uint16_t>(layout::kPmTimer + byte)),
                expected >> (8 * byte) & 0xff);
    }
    EXPECT_EQ(board.In(layout::kPmTimer + 2, 2), expected >> 16);
    board.Out(layout::kPmTimer, 0, 4);
    board.Advance(30'000'000);
  }
  EXPECT_GT(board.In(layout::kPmTimer, 4), 0x10000u);
}

TEST(Power, ButtonAndGuestAtOnceLeaveTheLineAsTheStatus) {
  Board board;
  board.Redirect(layout::kSciLine, 1 << 16 | kLevel | 0x49);
  board.Out(kEnable, kPowerButton, 2);
  board.Out(layout::kElcr + 1, 1 << 1);
  constexpr int kRounds = 5'000;
  std::atomic<int> started{0}, pressed{0};
  std::thread button([&] {
    for (int i = 1; i <= kRounds; ++i) {
      while (started < i) std::this_thread::yield();
      board.platform.PowerButton();
      pressed = i;
    }
  });
  int differed = 0;
  for (int i = 1; i <= kRounds; ++i) {
    started = i;
    board.Out(kStatus, kPowerButton, 2);
    while (pressed < i) std::this_thread::yield();
    bool line = board.In(layout::kPicSlave) & 1 << 1;
    if (line != (board.In(kStatus, 2) != 0)) ++differed;
  }
  button.join();
  EXPECT_EQ(differed, 0);
}

// ---- The small devices ----

TEST(DebugExit, TellsItsValueInEverySize) {
  Board board;
  board.Out(layout::kDebugExit, 0x12, 1);
  board.Out(layout::kDebugExit, 0x1234, 2);
  board.Out(layout::kDebugExit, 0x12345678, 4);
  EXPECT_THAT(board.told().debug_exit, ElementsAre(0x12u, 0x1234u, 0x12345678u));
}

TEST(FirmwareConfiguration, TellsItsItemsByteByByte) {
  Board board(3, 0x123456789a);
  auto item = [&](uint16_t key, int bytes) {
    board.Out(layout::kFirmwareSelector, key, 2);
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) {
      value |= static_cast<uint64_t>(board.In(layout::kFirmwareData)) << (8 * i);
    }
    return value;
  };
  EXPECT_EQ(item(0x03, 8), 0x123456789au);
  EXPECT_EQ(item(0x05, 2), 3u);
  EXPECT_EQ(item(0x0f, 2), 3u);
  EXPECT_EQ(item(0x03, 8), 0x123456789au) << "from its first byte each time";
  EXPECT_EQ(board.In(layout::kFirmwareData), 0u) << "behind its end";
  EXPECT_EQ(item(0x00, 4), 0u) << "no signature: there are no files";
  EXPECT_EQ(item(0x19, 4), 0u);
}

TEST(TestDevices, TheRegisterReadsAsWrittenInEverySize) {
  Board board;
  board.Out(layout::kTestRegister, 0x12345678, 4);
  EXPECT_EQ(board.In(layout::kTestRegister, 4), 0x12345678u);
  EXPECT_EQ(board.In(layout::kTestRegister + 1, 2), 0x3456u);
  board.Out(layout::kTestRegister + 2, 0xff);
  EXPECT_EQ(board.In(layout::kTestRegister, 4), 0x12ff5678u);
}

TEST(TestDevices, TheMemoryReadsAsWrittenInEverySize) {
  Board board;
  uint64_t at = layout::kTestMemoryBase + 0x123;
  EXPECT_EQ(board.platform.ReadMmio(0, at, 8), 0u);
  board.platform.WriteMmio(0, at, 8, 0x1122334455667788);
  EXPECT_EQ(board.platform.ReadMmio(0, at, 8), 0x1122334455667788u);
  EXPECT_EQ(board.platform.ReadMmio(0, at + 1, 4), 0x44556677u);
  board.platform.WriteMmio(0, at + 2, 1, 0xab);
  board.platform.WriteMmio(0, at + 4, 2, 0xcdef);
  EXPECT_EQ(board.platform.ReadMmio(0, at, 8), 0x1122cdef55ab7788u);
}

TEST(TestDevices, BehindTheMemoryIsNothing) {
  Board board;
  uint64_t end = layout::kTestMemoryBase + TestDevice::kMemoryBytes;
  board.platform.WriteMmio(0, end - 2, 4, 0x11223344);
  EXPECT_EQ(board.platform.ReadMmio(0, end - 2, 4), 0xffff3344u);
  EXPECT_EQ(board.platform.ReadMmio(0, end, 1), 0xffu);
}

TEST(TestDevices, TheLinesAreLevels) {
  Board board;
  board.Redirect(12, kLevel | 0x4c);
  board.Raise(12);
  EXPECT_THAT(board.Take(), Optional(0x4c));
  board.Lower(12);
  board.Eoi();
  EXPECT_FALSE(board.Pending());
}

}  // namespace
}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// The I/O APIC's registers, triggers and destinations (82093AA datasheet, chapter 3).
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/machine/board.h"

namespace trapline::machine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

constexpr uint32_t kVersion = 1, kArbitration = 2, kEntries = 0x10;
constexpr uint32_t kLogical = 1 << 11, kPending = 1 << 12, kRemoteIrr = 1 << 14, kLevel = 1 << 15,
                   kMasked = 1 << 16;
constexpr unsigned kPin = 5;  // the PICs have it masked

uint32_t Entry(Board& board, unsigned pin) { return board.IoApic(kEntries + 2 * pin); }

TEST(IoApic, HasTwentyFourPinsThatStartMasked) {
  Board board;
  EXPECT_EQ(board.IoApic(kVersion) >> 16 & 0xff, 23u);
  for (unsigned pin = 0; pin < 24; ++pin) {
    EXPECT_EQ(Entry(board, pin), kMasked) << pin;
    EXPECT_EQ(board.IoApic(kEntries + 2 * pin + 1), 0u) << pin;
  }
  board.IoApicWrite(kEntries + 48, 0);
  EXPECT_EQ(board.IoApic(kEntries + 48), 0u) << "there is no pin 24";
}

TEST(IoApic, OneRegisterSelectsAndOneIsTheWindow) {
  Board board;
  auto at = [&](uint32_t offset) {
    return board.platform.ReadMmio(0, layout::kIoApicBase + offset, 4);
  };
  board.IoApicWrite(kEntries + 2 * 7, kMasked | 0x77);
  board.IoApicWrite(kEntries + 2 * 8, kMasked | 0x88);
  board.platform.WriteMmio(0, layout::kIoApicBase, 4, kEntries + 2 * 7);
  EXPECT_EQ(at(0), kEntries + 2 * 7);
  EXPECT_EQ(at(0x10), kMasked | 0x77);
  EXPECT_EQ(at(0x10), kMasked | 0x77) << "reading does not move on";
  EXPECT_EQ(Entry(board, 8), kMasked | 0x88);
}

TEST(IoApic, TheIdHasFourBitsAndTheArbitrationIdFollowsIt) {
  Board board;
  board.IoApicWrite(0, 0xffffffff);
  EXPECT_EQ(board.IoApic(0), 0x0f000000u);
  EXPECT_EQ(board.IoApic(kArbitration), 0x0f000000u);
  board.IoApicWrite(kArbitration, 0);
  EXPECT_EQ(board.IoApic(kArbitration), 0x0f000000u) << "read-only";
  uint32_t version = board.IoApic(kVersion);
  board.IoApicWrite(kVersion, ~version);
  EXPECT_EQ(board.IoApic(kVersion), version) << "read-only";
}

TEST(IoApic, StatusBitsOfAnEntryAreReadOnly) {
  Board board;
  board.Redirect(kPin, 0xffffffff, 0xa5);
  EXPECT_EQ(Entry(board, kPin) & 0x1ffff, 0x1ffffu & ~(kPending | kRemoteIrr));
  EXPECT_EQ(board.IoApic(kEntries + 2 * kPin + 1) >> 24, 0xa5u);
}

TEST(IoApic, AnEdgeIsOneInterrupt) {
  Board board;
  board.Redirect(kPin, 0x45);
  board.Raise(kPin);
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x45));
  EXPECT_FALSE(board.VectorBit(0, apic::kTmr, 0x45));
  EXPECT_FALSE(Entry(board, kPin) & kRemoteIrr);
  board.Eoi();
  EXPECT_FALSE(board.Pending()) << "the line is still high";
  board.Lower(kPin);
  EXPECT_FALSE(board.Pending());
  board.Raise(kPin);
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x45));
}

TEST(IoApic, AnEdgeOnAMaskedPinIsLost) {
  Board board;
  board.Redirect(kPin, kMasked | 0x45);
  board.Raise(kPin);
  board.Redirect(kPin, 0x45);
  EXPECT_FALSE(board.Pending());
}

TEST(IoApic, ALevelOnAMaskedPinWaits) {
  Board board;
  board.Redirect(kPin, kMasked | kLevel | 0x45);
  board.Raise(kPin);
  EXPECT_FALSE(board.Pending());
  EXPECT_FALSE(Entry(board, kPin) & kRemoteIrr);
  board.Redirect(kPin, kLevel | 0x45);
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x45));
}

TEST(IoApic, ALevelThatIsGoneWhenUnmaskedSaysNothing) {
  Board board;
  board.Redirect(kPin, kMasked | kLevel | 0x45);
  board.Pulse(kPin);
  board.Redirect(kPin, kLevel | 0x45);
  EXPECT_FALSE(board.Pending());
}

TEST(IoApic, ALevelInterruptsAgainAfterEachEndUntilItFalls) {
  Board board;
  board.Redirect(kPin, kLevel | 0x45);
  board.Raise(kPin);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Entry(board, kPin) & kRemoteIrr);
    EXPECT_THAT(board.TakeAll(), ElementsAre(0x45));
    EXPECT_TRUE(board.VectorBit(0, apic::kTmr, 0x45)) << "its EOI is broadcast";
    board.Eoi();
  }
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x45));
  board.Lower(kPin);
  EXPECT_TRUE(Entry(board, kPin) & kRemoteIrr) << "until the EOI";
  board.Eoi();
  EXPECT_FALSE(Entry(board, kPin) & kRemoteIrr);
  EXPECT_FALSE(board.Pending());
}

TEST(IoApic, RemoteIrrHoldsFurtherMessagesBack) {
  Board board;
  board.Redirect(kPin, kLevel | 0x45);
  board.Raise(kPin);
  ASSERT_THAT(board.Take(), Optional(0x45));
  board.Lower(kPin);
  board.Raise(kPin);
  EXPECT_FALSE(board.VectorBit(0, apic::kIrr, 0x45));
  board.Eoi();
  EXPECT_TRUE(board.VectorBit(0, apic::kIrr, 0x45));
}

TEST(IoApic, AnEndConcernsItsVectorAlone) {
  Board board;
  board.Redirect(5, kLevel | 0x45);
  board.Redirect(6, kLevel | 0x56);
  board.Raise(5);
  board.Raise(6);
  EXPECT_THAT(board.Take(), Optional(0x56));
  board.Lower(6);
  board.Eoi();
  EXPECT_FALSE(Entry(board, 6) & kRemoteIrr);
  EXPECT_TRUE(Entry(board, 5) & kRemoteIrr);
}

TEST(IoApic, PinsThatShareAVectorEndTogether) {
  Board board;
  board.Redirect(5, kLevel | 0x45);
  board.Redirect(6, kLevel | 0x45);
  board.Raise(5);
  board.Raise(6);
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x45));
  board.Lower(5);
  board.Lower(6);
  board.Eoi();
  EXPECT_FALSE(Entry(board, 5) & kRemoteIrr);
  EXPECT_FALSE(Entry(board, 6) & kRemoteIrr);
  EXPECT_FALSE(board.Pending());
}

TEST(IoApic, AnEndByItsOwnRegister) {
  Board board;
  ASSERT_GE(board.IoApic(kVersion) & 0xff, 0x20u) << "what has the EOI register says so";
  board.Redirect(kPin, kLevel | 0x45);
  board.Raise(kPin);
  board.Lower(kPin);
  board.platform.WriteMmio(0, layout::kIoApicBase + 0x40, 4, 0x44);
  EXPECT_TRUE(Entry(board, kPin) & kRemoteIrr) << "another vector";
  board.platform.WriteMmio(0, layout::kIoApicBase + 0x40, 4, 0x45);
  EXPECT_FALSE(Entry(board, kPin) & kRemoteIrr);
}

TEST(IoApic, PhysicalDestinations) {
  Board board(3);
  board.EnableAll();
  board.Redirect(kPin, 0x45, 2);
  board.Pulse(kPin);
  EXPECT_THAT(board.TakeAll(0), IsEmpty());
  EXPECT_THAT(board.TakeAll(1), IsEmpty());
  EXPECT_THAT(board.TakeAll(2), ElementsAre(0x45));
  board.Redirect(kPin, 0x46, 0xff);
  board.Pulse(kPin);
  EXPECT_THAT(board.TakeAll(0), ElementsAre(0x46));
  EXPECT_THAT(board.TakeAll(1), ElementsAre(0x46));
}

TEST(IoApic, LogicalDestinations) {
  Board board(3);
  board.EnableAll();
  board.Redirect(kPin, kLogical | 0x45, 0x06);
  board.Pulse(kPin);
  EXPECT_THAT(board.TakeAll(0), IsEmpty());
  EXPECT_THAT(board.TakeAll(1), ElementsAre(0x45));
  EXPECT_THAT(board.TakeAll(2), ElementsAre(0x45));
}

TEST(IoApic, LowestPriorityIsOneOfTheDestinations) {
  Board board(3);
  board.EnableAll();
  board.ApicWrite(0, apic::kTpr, 0x30);
  board.ApicWrite(2, apic::kTpr, 0x20);
  board.Redirect(kPin, kLogical | 1 << 8 | 0x45, 0x05);
  board.Pulse(kPin);
  EXPECT_THAT(board.TakeAll(0), IsEmpty());
  EXPECT_THAT(board.TakeAll(1), IsEmpty()) << "not asked, though it has the least to do";
  EXPECT_THAT(board.TakeAll(2), ElementsAre(0x45));
}

TEST(IoApic, NmiAndInitByAPin) {
  Board board(2);
  board.Redirect(kPin, 4 << 8, 1);
  board.Pulse(kPin);
  EXPECT_TRUE(board.platform.TakeNmi(1));
  EXPECT_FALSE(board.platform.TakeNmi(0));
  board.Redirect(kPin, 5 << 8, 1);
  board.Pulse(kPin);
  EXPECT_THAT(board.told().init, ElementsAre(1));
}

TEST(IoApic, ThePitIsOnPinTwo) {
  Board board;
  board.Redirect(0, 0x40);
  board.Redirect(2, 0x42);
  board.Raise(layout::kTimerLine);
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x42));
}

TEST(IoApic, OtherLinesAreOnThePinsOfTheirNumber) {
  Board board;
  for (unsigned line : {1, 3, 4, 8, 9, 12, 15}) {
    board.Redirect(line, 0x40 + line);
    board.Pulse(line);
    EXPECT_THAT(board.TakeAll(), ElementsAre(0x40 + line));
    board.Eoi();
  }
}

TEST(IoApic, ResetMasksEverythingAgain) {
  Board board;
  board.Redirect(kPin, kLevel | 0x45);
  board.Raise(kPin);
  board.platform.Reset();
  EXPECT_EQ(Entry(board, kPin), kMasked);
  EXPECT_FALSE(board.Pending());
  board.Redirect(kPin, 0x46);
  board.Raise(kPin);
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x46)) << "the line was low again";
}

}  // namespace
}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// The local APIC by its MSRs (SDM volume 3, section 10.12).
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/machine/board.h"

namespace trapline::machine {
namespace {

using apic::X2;
using testing::ElementsAre;
using testing::Optional;

constexpr uint64_t kBase = layout::kLocalApicBase;

uint64_t To(uint32_t destination) { return static_cast<uint64_t>(destination) << 32; }

TEST(X2Apic, ItsRegistersAreMsrsAndNoLongerMemory) {
  Board board(2);
  EXPECT_EQ(board.Msr(1, X2(apic::kId)), std::nullopt) << "not before it is on";
  EXPECT_FALSE(board.SetMsr(1, X2(apic::kTpr), 0));
  board.EnterX2(1);
  EXPECT_THAT(board.Msr(1, X2(apic::kId)), Optional(1u)) << "all 32 bits are the id";
  EXPECT_EQ(board.Msr(1, X2(apic::kVersion)), board.Apic(0, apic::kVersion));
  EXPECT_EQ(board.Apic(1, apic::kId), 0xffffffffu);
  board.ApicWrite(1, apic::kTpr, 0x50);
  EXPECT_THAT(board.Msr(1, X2(apic::kTpr)), Optional(0u));
}

TEST(X2Apic, RegistersKeepTheirValueOverTheSwitch) {
  Board board;
  board.ApicWrite(0, apic::kTpr, 0x50);
  board.ApicWrite(0, apic::kLvtError, 0x41);
  board.EnterX2(0);
  EXPECT_THAT(board.Msr(0, X2(apic::kTpr)), Optional(0x50u));
  EXPECT_THAT(board.Msr(0, X2(apic::kLvtError)), Optional(0x41u));
}

TEST(X2Apic, EachTransitionIsAllowedOrFaults) {
  constexpr uint64_t kX = apic::kBaseEnable, kX2 = apic::kBaseEnable | apic::kBaseX2;
  Board board(2);
  auto go = [&](uint64_t mode) { return board.SetMsr(1, apic::kBaseMsr, kBase | mode); };
  EXPECT_FALSE(go(apic::kBaseX2)) << "without being enabled";
  EXPECT_TRUE(go(kX2));
  EXPECT_TRUE(go(kX2)) << "to where it is";
  EXPECT_FALSE(go(kX)) << "not back";
  EXPECT_FALSE(go(apic::kBaseX2));
  EXPECT_THAT(board.Msr(1, apic::kBaseMsr), Optional(kBase | kX2));
  EXPECT_TRUE(go(0)) << "only by being disabled";
  EXPECT_FALSE(go(kX2)) << "and on only by way of xAPIC mode";
  EXPECT_TRUE(go(kX));
  EXPECT_EQ(board.Apic(1, apic::kId), 1u << 24);
  EXPECT_TRUE(go(kX2));
}

TEST(X2Apic, RegistersThatAreNotThereFault) {
  Board board;
  board.EnterX2(0);
  for (uint32_t offset : {0x00, 0x40, 0x90, 0xc0, 0xe0, 0x310, 0x3a0, 0x3d0}) {
    EXPECT_EQ(board.Msr(0, X2(offset)), std::nullopt) << std::hex << offset;
    EXPECT_FALSE(board.SetMsr(0, X2(offset), 0)) << std::hex << offset;
  }
  EXPECT_FALSE(board.SetMsr(0, 0x840, 0));
  EXPECT_EQ(board.Msr(0, 0x8ff), std::nullopt);
}

TEST(X2Apic, WriteOnlyRegistersFaultWhenRead) {
  Board board;
  board.EnterX2(0);
  EXPECT_EQ(board.Msr(0, X2(apic::kEoi)), std::nullopt);
  EXPECT_EQ(board.Msr(0, apic::kSelfIpiMsr), std::nullopt);
}

TEST(X2Apic, ReadOnlyRegistersFaultWhenWritten) {
  Board board;
  board.EnterX2(0);
  for (uint32_t offset : {apic::kId, apic::kVersion, apic::kPpr, apic::kLdr, apic::kIsr, apic::kTmr,
                          apic::kIrr, apic::kCurrentCount}) {
    EXPECT_FALSE(board.SetMsr(0, X2(offset), 0)) << std::hex << offset;
  }
}

TEST(X2Apic, OnlyZeroEndsAnInterruptOrClearsTheErrors) {
  Board board;
  board.EnterX2(0);
  EXPECT_FALSE(board.SetMsr(0, X2(apic::kEoi), 1));
  EXPECT_TRUE(board.SetMsr(0, X2(apic::kEoi), 0));
  EXPECT_FALSE(board.SetMsr(0, X2(apic::kEsr), 1));
  EXPECT_TRUE(board.SetMsr(0, X2(apic::kEsr), 0));
}

TEST(X2Apic, TheUpperHalfOfEveryOtherRegisterIsReserved) {
  Board board;
  board.EnterX2(0);
  for (uint32_t offset : {apic::kTpr, apic::kSvr, apic::kLvtTimer, apic::kLvtLint0, apic::kLvtError,
                          apic::kInitialCount, apic::kDivide}) {
    EXPECT_FALSE(board.SetMsr(0, X2(offset), uint64_t{1} << 32)) << std::hex << offset;
  }
}

TEST(X2Apic, ReservedBitsOfTheLowerHalfFault) {
  Board board;
  board.EnterX2(0);
  auto faults = [&](uint32_t offset, uint64_t value) {
    return !board.SetMsr(0, X2(offset), value);
  };
  EXPECT_TRUE(faults(apic::kTpr, 0x100));
  EXPECT_TRUE(faults(apic::kSvr, apic::kEnabled | 1 << 13));
  EXPECT_TRUE(faults(apic::kLvtTimer, apic::kMasked | 1 << 8));
  EXPECT_TRUE(faults(apic::kLvtThermal, apic::kMasked | 1 << 17));
  EXPECT_TRUE(faults(apic::kLvtLint0, apic::kMasked | 1 << 17));
  EXPECT_TRUE(faults(apic::kLvtError, apic::kMasked | 1 << 8));
  EXPECT_TRUE(faults(apic::kDivide, 4));
  EXPECT_TRUE(faults(apic::kIcrLow, apic::kToSelf | 1 << 13 | 0x40));
  EXPECT_TRUE(faults(apic::kIcrLow, apic::kToSelf | 1 << 20 | 0x40));
  EXPECT_FALSE(board.SetMsr(0, apic::kSelfIpiMsr, 0x140));
  EXPECT_FALSE(board.Pending()) << "and nothing was sent";
}

TEST(X2Apic, OneWriteSendsACommand) {
  Board board(2);
  board.EnterX2(0);
  board.EnterX2(1);
  ASSERT_TRUE(board.SetMsr(0, X2(apic::kIcrLow), To(1) | apic::kAssert | 0x40));
  EXPECT_THAT(board.TakeAll(1), ElementsAre(0x40));
  EXPECT_THAT(board.Msr(0, X2(apic::kIcrLow)), Optional(To(1) | apic::kAssert | 0x40));
}

TEST(X2Apic, AnInterruptByTheMsrIsTakenAndEnded) {
  Board board;
  board.EnterX2(0);
  ASSERT_TRUE(board.SetMsr(0, apic::kSelfIpiMsr, 0x44));
  EXPECT_THAT(board.Msr(0, X2(apic::kIrr) + 2), Optional(1u << 4));
  EXPECT_THAT(board.Take(), Optional(0x44));
  EXPECT_THAT(board.Msr(0, X2(apic::kIsr) + 2), Optional(1u << 4));
  EXPECT_THAT(board.Msr(0, X2(apic::kPpr)), Optional(0x40u));
  board.SetMsr(0, X2(apic::kEoi), 0);
  EXPECT_THAT(board.Msr(0, X2(apic::kIsr) + 2), Optional(0u));
}

TEST(X2Apic, AnIllegalVectorToOneselfIsASendError) {
  Board board;
  board.EnterX2(0);
  board.SetMsr(0, apic::kSelfIpiMsr, 0x0f);
  EXPECT_FALSE(board.Pending());
  board.SetMsr(0, X2(apic::kEsr), 0);
  auto errors = board.Msr(0, X2(apic::kEsr));
  ASSERT_TRUE(errors);
  EXPECT_TRUE(*errors & 1 << 5) << "send illegal vector: section 10.5.3";
}

TEST(X2Apic, DestinationsAre32BitsWide) {
  Board board(2);
  board.EnterX2(0);
  board.EnterX2(1);
  board.SetMsr(0, X2(apic::kIcrLow), To(0x101) | apic::kAssert | 0x40);
  board.SetMsr(0, X2(apic::kIcrLow), To(0xff) | apic::kAssert | 0x40);
  EXPECT_FALSE(board.Pending(0));
  EXPECT_FALSE(board.Pending(1)) << "0xff is no broadcast here";
  board.SetMsr(0, X2(apic::kIcrLow), To(0xffffffff) | apic::kAssert | 0x41);
  EXPECT_THAT(board.TakeAll(0), ElementsAre(0x41));
  EXPECT_THAT(board.TakeAll(1), ElementsAre(0x41));
}

TEST(X2Apic, TheLogicalIdFollowsFromTheId) {
  Board board(18);
  board.EnterX2(3);
  board.EnterX2(17);
  EXPECT_THAT(board.Msr(3, X2(apic::kLdr)), Optional(1u << 3));
  EXPECT_THAT(board.Msr(17, X2(apic::kLdr)), Optional(1u << 16 | 1u << 1));
}

TEST(X2Apic, ALogicalDestinationIsAClusterAndABitEach) {
  Board board(18);
  for (uint32_t i = 0; i < 18; ++i) board.EnterX2(i);
  auto reached = [&] {
    std::vector<uint32_t> vcpus;
    for (uint32_t i = 0; i < 18; ++i) {
      if (board.Take(i)) {
        vcpus.push_back(i);
        board.SetMsr(i, X2(apic::kEoi), 0);
      }
    }
    return vcpus;
  };
  uint64_t low = apic::kLogical | apic::kAssert | 0x40;
  board.SetMsr(0, X2(apic::kIcrLow), To(0x00008003) | low);
  EXPECT_THAT(reached(), ElementsAre(0, 1, 15));
  board.SetMsr(0, X2(apic::kIcrLow), To(0x00010003) | low);
  EXPECT_THAT(reached(), ElementsAre(16, 17));
  board.SetMsr(0, X2(apic::kIcrLow), To(0x00020003) | low);
  EXPECT_THAT(reached(), testing::IsEmpty());
  board.SetMsr(0, X2(apic::kIcrLow), To(0xffffffff) | low);
  EXPECT_EQ(reached().size(), 18u);
}

TEST(X2Apic, TakesInterruptsOfTheIoApic) {
  Board board(2);
  board.EnterX2(1);
  board.Redirect(5, 0x45, 1);
  board.Pulse(5);
  EXPECT_THAT(board.TakeAll(1), ElementsAre(0x45));
}

TEST(X2Apic, DisablingItForgetsEverything) {
  Board board(2);
  board.EnterX2(1);
  board.SetMsr(1, X2(apic::kTpr), 0x30);
  board.SetMsr(1, apic::kSelfIpiMsr, 0x50);
  ASSERT_TRUE(board.SetMsr(1, apic::kBaseMsr, kBase));
  EXPECT_FALSE(board.Pending(1));
  ASSERT_TRUE(board.SetMsr(1, apic::kBaseMsr, kBase | apic::kBaseEnable));
  EXPECT_EQ(board.Apic(1, apic::kTpr), 0u);
  board.Enable(1);
  EXPECT_FALSE(board.Pending(1));
}

}  // namespace
}  // namespace trapline::machine

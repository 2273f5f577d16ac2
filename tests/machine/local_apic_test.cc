// SPDX-License-Identifier: Apache-2.0
// The local APIC's registers, priorities and errors (SDM volume 3, sections 10.4, 10.5 and 10.8).
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/machine/board.h"

namespace trapline::machine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

constexpr uint32_t kSendIllegal = 1 << 5, kReceiveIllegal = 1 << 6, kIllegalRegister = 1 << 7;

// An interrupt to vCPU 0 by itself.
void Interrupt(Board& board, uint8_t vector) {
  board.Command(0, apic::kFixed | apic::kAssert | apic::kToSelf | vector);
}

TEST(LocalApic, StartsAsAfterPowerUp) {
  Board board(2);
  EXPECT_EQ(board.Apic(1, apic::kId), 1u << 24);
  EXPECT_EQ(board.Apic(1, apic::kTpr), 0u);
  EXPECT_EQ(board.Apic(1, apic::kPpr), 0u);
  EXPECT_EQ(board.Apic(1, apic::kLdr), 0u);
  EXPECT_EQ(board.Apic(1, apic::kDfr), 0xffffffffu);
  EXPECT_EQ(board.Apic(1, apic::kSvr), 0xffu);
  EXPECT_EQ(board.Apic(1, apic::kIcrLow), 0u);
  EXPECT_EQ(board.Apic(1, apic::kIcrHigh), 0u);
  EXPECT_EQ(board.Apic(1, apic::kInitialCount), 0u);
  EXPECT_EQ(board.Apic(1, apic::kCurrentCount), 0u);
  EXPECT_EQ(board.Apic(1, apic::kDivide), 0u);
  for (uint32_t entry = apic::kLvtTimer; entry <= apic::kLvtError; entry += 0x10) {
    EXPECT_EQ(board.Apic(1, entry), apic::kMasked) << std::hex << entry;
  }
  for (uint32_t bits = apic::kIsr; bits < apic::kEsr; bits += 0x10) {
    EXPECT_EQ(board.Apic(1, bits), 0u) << std::hex << bits;
  }
}

TEST(LocalApic, IsIntegratedAndNamesItsLastEntry) {
  Board board;
  uint32_t version = board.Apic(0, apic::kVersion);
  EXPECT_GE(version & 0xff, 0x10u) << "not an 82489DX";
  EXPECT_LE(version & 0xff, 0x15u);
  EXPECT_EQ(version >> 16 & 0xff, 5u) << "six entries in the local vector table";
  board.ApicWrite(0, apic::kVersion, 0);
  EXPECT_EQ(board.Apic(0, apic::kVersion), version);
}

TEST(LocalApic, FirmwareLeavesTheBootProcessorInVirtualWireMode) {
  Board board(2);
  EXPECT_TRUE(board.Apic(0, apic::kSvr) & 0x100);
  EXPECT_EQ(board.Apic(0, apic::kLvtLint0) & 0x10700, 0x700u);
  EXPECT_EQ(board.Apic(0, apic::kLvtLint1) & 0x10700, 0x400u);
  EXPECT_FALSE(board.Apic(1, apic::kSvr) & 0x100);
}

TEST(LocalApic, KeepsOfARegisterWhatCanBeWritten) {
  Board board;
  auto kept = [&](uint32_t offset, uint32_t value) {
    board.ApicWrite(0, offset, value);
    return board.Apic(0, offset);
  };
  EXPECT_EQ(kept(apic::kLdr, 0xa5ffffff), 0xa5000000u);
  EXPECT_EQ(kept(apic::kDfr, 0x00000000), 0x0fffffffu);
  EXPECT_EQ(kept(apic::kTpr, 0xffffffa5), 0xa5u);
  EXPECT_EQ(kept(apic::kLvtTimer, 0xfffbffff), 0x300ffu) << "send pending is read-only";
  EXPECT_EQ(kept(apic::kLvtThermal, 0xffffffff), 0x107ffu);
  EXPECT_EQ(kept(apic::kLvtPerformance, 0xffffffff), 0x107ffu);
  EXPECT_EQ(kept(apic::kLvtLint0, 0xffffffff), 0x1a7ffu) << "remote IRR is read-only";
  EXPECT_EQ(kept(apic::kLvtError, 0xffffffff), 0x100ffu);
  EXPECT_EQ(kept(apic::kDivide, 0xffffffff), 0xbu);
  EXPECT_EQ(kept(apic::kIcrHigh, 0x5a000000), 0x5a000000u);
}

TEST(LocalApic, DisablingItMasksTheEntriesForAsLongAsItLasts) {
  Board board;
  board.ApicWrite(0, apic::kLvtError, 0x40);
  board.ApicWrite(0, apic::kSvr, 0xff);
  EXPECT_EQ(board.Apic(0, apic::kLvtError), apic::kMasked | 0x40);
  board.ApicWrite(0, apic::kLvtError, 0x41);
  EXPECT_EQ(board.Apic(0, apic::kLvtError), apic::kMasked | 0x41);
  board.Enable(0);
  EXPECT_EQ(board.Apic(0, apic::kLvtError), apic::kMasked | 0x41) << "no entry unmasks itself";
  board.ApicWrite(0, apic::kLvtError, 0x41);
  EXPECT_EQ(board.Apic(0, apic::kLvtError), 0x41u);
}

TEST(LocalApic, ADisabledOneTakesNoInterruptsButAnNmi) {
  Board board(2);
  EXPECT_TRUE(board.platform.SendTo(1, DeliveryMode::kFixed, 0x50));
  board.Enable(1);
  EXPECT_FALSE(board.Pending(1)) << "what came before is gone";
  board.ApicWrite(1, apic::kSvr, 0xff);
  EXPECT_TRUE(board.platform.SendTo(1, DeliveryMode::kNmi, 0));
  EXPECT_TRUE(board.platform.TakeNmi(1));
  EXPECT_FALSE(board.platform.TakeNmi(1));
}

TEST(LocalApic, WhatIsPendingIsHeldWhileItIsDisabled) {
  Board board;
  Interrupt(board, 0x50);
  board.ApicWrite(0, apic::kSvr, 0xff);
  EXPECT_TRUE(board.VectorBit(0, apic::kIrr, 0x50));
  board.Enable(0);
  EXPECT_THAT(board.Take(), Optional(0x50));
}

TEST(LocalApic, TakingAnInterruptMovesItFromRequestedToInService) {
  Board board;
  Interrupt(board, 0x51);
  EXPECT_TRUE(board.VectorBit(0, apic::kIrr, 0x51));
  EXPECT_FALSE(board.VectorBit(0, apic::kIsr, 0x51));
  EXPECT_THAT(board.Take(), Optional(0x51));
  EXPECT_FALSE(board.VectorBit(0, apic::kIrr, 0x51));
  EXPECT_TRUE(board.VectorBit(0, apic::kIsr, 0x51));
  board.Eoi();
  EXPECT_FALSE(board.VectorBit(0, apic::kIsr, 0x51));
}

TEST(LocalApic, TwoRequestsForAVectorAreOneUntilItIsInService) {
  Board board;
  Interrupt(board, 0x51);
  Interrupt(board, 0x51);
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x51));
  Interrupt(board, 0x51);
  EXPECT_FALSE(board.Pending()) << "its class is in service";
  board.Eoi();
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x51)) << "one more was latched";
}

TEST(LocalApic, ServesTheHighestVectorFirst) {
  Board board;
  for (uint8_t vector : {0x31, 0xf3, 0x10, 0x80}) Interrupt(board, vector);
  std::vector<uint8_t> order;
  while (auto vector = board.Take()) {
    order.push_back(*vector);
    board.Eoi();
  }
  EXPECT_THAT(order, ElementsAre(0xf3, 0x80, 0x31, 0x10));
}

TEST(LocalApic, OnlyAHigherClassInterruptsAHandler) {
  Board board;
  Interrupt(board, 0x52);
  EXPECT_THAT(board.Take(), Optional(0x52));
  Interrupt(board, 0x5f);
  EXPECT_FALSE(board.Pending()) << "the same class";
  Interrupt(board, 0x60);
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x60));
  board.Eoi();
  EXPECT_FALSE(board.Pending()) << "0x52 is still in service";
  EXPECT_TRUE(board.VectorBit(0, apic::kIsr, 0x52)) << "the EOI ended the highest";
  board.Eoi();
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x5f));
}

TEST(LocalApic, AnEndOfInterruptAnnouncesWhatWaitedForIt) {
  Board board;
  Interrupt(board, 0x52);
  EXPECT_THAT(board.Take(), Optional(0x52));
  Interrupt(board, 0x51);
  uint64_t before = board.Attention(0);
  board.Eoi();
  EXPECT_GT(board.Attention(0), before);
}

TEST(LocalApic, AnEndOfInterruptWithNothingInServiceDoesNothing) {
  Board board;
  board.Eoi();
  Interrupt(board, 0x52);
  board.Eoi();
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x52));
}

TEST(LocalApic, TaskPriorityHoldsItsClassAndBelowBack) {
  Board board;
  board.ApicWrite(0, apic::kTpr, 0x50);
  Interrupt(board, 0x4f);
  Interrupt(board, 0x5f);
  EXPECT_FALSE(board.Pending());
  Interrupt(board, 0x60);
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x60));
  board.Eoi();
  uint64_t before = board.Attention(0);
  board.ApicWrite(0, apic::kTpr, 0x40);
  EXPECT_GT(board.Attention(0), before);
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x5f));
}

TEST(LocalApic, ControlRegister8IsTheUpperHalfOfTheTaskPriority) {
  Board board;
  board.platform.WriteTaskPriority(0, 0xa);
  EXPECT_EQ(board.Apic(0, apic::kTpr), 0xa0u);
  board.ApicWrite(0, apic::kTpr, 0x7f);
  EXPECT_EQ(board.platform.ReadTaskPriority(0), 7);
}

TEST(LocalApic, ProcessorPriorityIsTheHigherOfTaskAndHandler) {
  Board board;
  board.ApicWrite(0, apic::kTpr, 0x35);
  EXPECT_EQ(board.Apic(0, apic::kPpr), 0x35u) << "the sub-class of the task counts";
  Interrupt(board, 0x68);
  EXPECT_THAT(board.Take(), Optional(0x68));
  EXPECT_EQ(board.Apic(0, apic::kPpr), 0x60u) << "that of the handler does not";
  board.ApicWrite(0, apic::kTpr, 0x91);
  EXPECT_EQ(board.Apic(0, apic::kPpr), 0x91u);
  board.ApicWrite(0, apic::kPpr, 0);
  EXPECT_EQ(board.Apic(0, apic::kPpr), 0x91u) << "read-only";
}

TEST(LocalApic, AnIllegalVectorThatIsSentIsAnError) {
  Board board;
  Interrupt(board, 0x0f);
  EXPECT_FALSE(board.Pending());
  EXPECT_TRUE(board.Errors(0) & kSendIllegal);
  EXPECT_EQ(board.Errors(0), 0u) << "told once";
  Interrupt(board, 0x10);
  EXPECT_EQ(board.Errors(0), 0u) << "the lowest that is legal";
  EXPECT_TRUE(board.Pending());
}

TEST(LocalApic, AnIllegalVectorThatArrivesIsAnError) {
  Board board(2);
  board.Enable(1);
  board.Redirect(5, 0x0f, 1);
  board.Pulse(5);
  EXPECT_FALSE(board.Pending(1));
  EXPECT_EQ(board.Apic(1, apic::kIrr), 0u) << "no bit below 16 is ever set";
  EXPECT_EQ(board.Apic(1, apic::kEsr), 0u) << "a write comes before the read";
  EXPECT_EQ(board.Errors(1), kReceiveIllegal);
}

TEST(LocalApic, ARegisterThatDoesNotExistIsAnError) {
  Board board;
  EXPECT_EQ(board.Errors(0), 0u);
  board.ApicWrite(0, 0x40, 1);
  EXPECT_EQ(board.Errors(0), kIllegalRegister);
  board.Apic(0, 0x50);
  EXPECT_EQ(board.Errors(0), kIllegalRegister);
}

TEST(LocalApic, AnErrorInterruptsByItsEntry) {
  Board board;
  board.ApicWrite(0, apic::kLvtError, 0xe1);
  Interrupt(board, 0x05);
  EXPECT_THAT(board.TakeAll(), ElementsAre(0xe1));
}

TEST(LocalApic, AMaskedErrorSaysNothing) {
  Board board;
  board.ApicWrite(0, apic::kLvtError, apic::kMasked | 0xe1);
  Interrupt(board, 0x05);
  EXPECT_FALSE(board.Pending());
}

TEST(LocalApic, LintZeroInFixedModePutsItsOwnVectorForThePic) {
  Board board;
  board.ApicWrite(0, apic::kLvtLint0, 0x71);
  board.Raise(10);  // open in both PICs, by firmware
  EXPECT_THAT(board.TakeAll(), ElementsAre(0x71));
}

TEST(LocalApic, InitLeavesTheIdAndThePlaceButNothingElse) {
  Board board(2);
  ASSERT_TRUE(board.SetMsr(1, apic::kBaseMsr, 0xfee10000 | apic::kBaseEnable));
  auto at = [&](uint32_t offset) { return board.platform.ReadMmio(1, 0xfee10000 + offset, 4); };
  auto write = [&](uint32_t offset, uint32_t value) {
    board.platform.WriteMmio(1, 0xfee10000 + offset, 4, value);
  };
  write(apic::kSvr, apic::kEnabled);
  write(apic::kTpr, 0x20);
  write(apic::kLvtError, 0x40);
  write(apic::kInitialCount, 1000);
  board.platform.SendTo(1, DeliveryMode::kFixed, 0x50);
  board.platform.InitApic(1);
  EXPECT_EQ(board.Msr(1, apic::kBaseMsr), 0xfee10000 | apic::kBaseEnable);
  EXPECT_EQ(at(apic::kId), 1u << 24);
  EXPECT_EQ(at(apic::kSvr), 0xffu);
  EXPECT_EQ(at(apic::kTpr), 0u);
  EXPECT_EQ(at(apic::kLvtError), apic::kMasked);
  EXPECT_EQ(at(apic::kInitialCount), 0u);
  EXPECT_EQ(at(apic::kIrr + 0x20), 0u);
}

TEST(LocalApic, ItsPageIsWhereTheBaseRegisterSays) {
  Board board(2);
  EXPECT_EQ(board.Msr(0, apic::kBaseMsr),
            layout::kLocalApicBase | apic::kBaseEnable | apic::kBaseBoot);
  EXPECT_EQ(board.Msr(1, apic::kBaseMsr), layout::kLocalApicBase | apic::kBaseEnable);
  ASSERT_TRUE(board.SetMsr(1, apic::kBaseMsr, 0xd0000000 | apic::kBaseEnable));
  EXPECT_EQ(board.platform.ReadMmio(1, 0xd0000000 + apic::kId, 4), 1u << 24);
  EXPECT_EQ(board.Apic(1, apic::kId), 0xffffffffu) << "nobody answers at the old place";
  EXPECT_EQ(board.platform.ReadMmio(0, 0xd0000000 + apic::kId, 4), 0xffffffffu);
  EXPECT_EQ(board.Apic(0, apic::kId), 0u) << "the other processor's stays";
}

TEST(LocalApic, ReservedBitsOfTheBaseRegisterFault) {
  Board board;
  uint64_t base = *board.Msr(0, apic::kBaseMsr);
  for (unsigned bit : {0, 7, 9, 52, 63}) {
    EXPECT_FALSE(board.SetMsr(0, apic::kBaseMsr, base | uint64_t{1} << bit)) << bit;
  }
  EXPECT_EQ(board.Msr(0, apic::kBaseMsr), base);
}

TEST(LocalApic, AGloballyDisabledOneIsNotThere) {
  Board board(2);
  board.EnableAll();
  ASSERT_TRUE(board.SetMsr(1, apic::kBaseMsr, layout::kLocalApicBase));
  EXPECT_EQ(board.Apic(1, apic::kId), 0xffffffffu);
  board.Command(0, apic::kFixed | apic::kAssert | 0x50, 1);
  EXPECT_FALSE(board.Pending(1));
  board.Command(0, apic::kNmi | apic::kAssert, 1);
  EXPECT_FALSE(board.platform.TakeNmi(1)) << "messages between APICs do not reach it";
  board.Command(0, apic::kInit | apic::kAssert, 1);
  EXPECT_THAT(board.told().init, IsEmpty());
  ASSERT_TRUE(board.SetMsr(1, apic::kBaseMsr, layout::kLocalApicBase | apic::kBaseEnable));
  EXPECT_EQ(board.Apic(1, apic::kSvr), 0xffu) << "as after power-up";
}

}  // namespace
}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// Interrupts from one processor to others: destinations, shorthands, INIT and startup (SDM volume
// 3, section 10.6).
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/machine/board.h"

namespace trapline::machine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr uint32_t kSend = apic::kFixed | apic::kAssert;

// Four processors with all APICs on; says whom an interrupt reached.
class Interprocessor : public testing::Test {
 protected:
  Interprocessor() { board_.EnableAll(); }
  // The processors for which this vector waits; it waits no longer.
  std::vector<uint32_t> Reached(uint8_t vector) {
    std::vector<uint32_t> reached;
    for (uint32_t i = 0; i < 4; ++i) {
      if (board_.Take(i) == vector) {
        reached.push_back(i);
        board_.Eoi(i);
      }
      EXPECT_FALSE(board_.Pending(i));
    }
    return reached;
  }
  void Model(uint32_t dfr, const std::vector<uint8_t>& logical_ids) {
    for (uint32_t i = 0; i < logical_ids.size(); ++i) {
      board_.ApicWrite(i, apic::kDfr, dfr);
      board_.ApicWrite(i, apic::kLdr, static_cast<uint32_t>(logical_ids[i]) << 24);
    }
  }
  Board board_{4};
};

TEST_F(Interprocessor, APhysicalDestinationIsOneProcessor) {
  uint64_t before = board_.Attention(2);
  board_.Command(0, kSend | 0x40, 2);
  EXPECT_GT(board_.Attention(2), before);
  EXPECT_THAT(Reached(0x40), ElementsAre(2));
  board_.Command(3, kSend | 0x41, 3);
  EXPECT_THAT(Reached(0x41), ElementsAre(3)) << "oneself";
  board_.Command(0, kSend | 0x42, 9);
  EXPECT_THAT(Reached(0x42), IsEmpty()) << "nobody has this id";
}

TEST_F(Interprocessor, AllOnesIsABroadcast) {
  board_.Command(1, kSend | 0x40, 0xff);
  EXPECT_THAT(Reached(0x40), ElementsAre(0, 1, 2, 3));
  board_.Command(1, kSend | apic::kLogical | 0x41, 0xff);
  EXPECT_THAT(Reached(0x41), ElementsAre(0, 1, 2, 3));
}

TEST_F(Interprocessor, TheFlatModelTakesEveryBitForAProcessor) {
  Model(0xffffffff, {1, 2, 4, 8});
  board_.Command(0, kSend | apic::kLogical | 0x40, 0x0a);
  EXPECT_THAT(Reached(0x40), ElementsAre(1, 3));
  board_.Command(0, kSend | apic::kLogical | 0x41, 0xf0);
  EXPECT_THAT(Reached(0x41), IsEmpty());
}

TEST_F(Interprocessor, TheClusterModelTakesTheUpperHalfForACluster) {
  Model(0x0fffffff, {0x11, 0x12, 0x21, 0x22});
  board_.Command(0, kSend | apic::kLogical | 0x40, 0x13);
  EXPECT_THAT(Reached(0x40), ElementsAre(0, 1));
  board_.Command(0, kSend | apic::kLogical | 0x41, 0x22);
  EXPECT_THAT(Reached(0x41), ElementsAre(3));
  board_.Command(0, kSend | apic::kLogical | 0x42, 0x31);
  EXPECT_THAT(Reached(0x42), IsEmpty());
  board_.Command(0, kSend | apic::kLogical | 0x43, 0xff);
  EXPECT_THAT(Reached(0x43), ElementsAre(0, 1, 2, 3));
}

TEST_F(Interprocessor, AShorthandOverridesTheDestination) {
  board_.Command(1, kSend | apic::kToSelf | 0x40, 2);
  EXPECT_THAT(Reached(0x40), ElementsAre(1));
  board_.Command(1, kSend | apic::kToAll | 0x41, 2);
  EXPECT_THAT(Reached(0x41), ElementsAre(0, 1, 2, 3));
  board_.Command(1, kSend | apic::kToOthers | 0x42, 2);
  EXPECT_THAT(Reached(0x42), ElementsAre(0, 2, 3));
}

TEST_F(Interprocessor, OnlyTheLowHalfOfTheCommandSends) {
  board_.Command(0, kSend | 0x40, 1);
  EXPECT_THAT(Reached(0x40), ElementsAre(1));
  board_.ApicWrite(0, apic::kIcrHigh, 2 << 24);
  EXPECT_THAT(Reached(0x40), IsEmpty());
  EXPECT_EQ(board_.Apic(0, apic::kIcrLow), kSend | 0x40) << "and it reads as sent";
  EXPECT_EQ(board_.Apic(0, apic::kIcrHigh), 2u << 24);
}

TEST_F(Interprocessor, LowestPriorityTakesTheLeastBusy) {
  for (uint32_t i = 0; i < 4; ++i) board_.ApicWrite(i, apic::kTpr, i == 2 ? 0x10 : 0x30);
  board_.Command(0, apic::kLowest | apic::kAssert | apic::kLogical | 0x80, 0x0f);
  EXPECT_THAT(Reached(0x80), ElementsAre(2));
  board_.ApicWrite(2, apic::kTpr, 0x50);
  board_.ApicWrite(1, apic::kTpr, 0x20);
  board_.Command(0, apic::kLowest | apic::kAssert | apic::kLogical | 0x80, 0x0f);
  EXPECT_THAT(Reached(0x80), ElementsAre(1));
}

TEST_F(Interprocessor, LowestPriorityCountsTheHandlerToo) {
  board_.platform.SendTo(0, DeliveryMode::kFixed, 0x60);
  ASSERT_TRUE(board_.Take(0));
  board_.Command(1, apic::kLowest | apic::kAssert | apic::kLogical | 0x80, 0x03);
  EXPECT_FALSE(board_.VectorBit(0, apic::kIrr, 0x80));
  EXPECT_TRUE(board_.VectorBit(1, apic::kIrr, 0x80));
}

TEST_F(Interprocessor, LowestPriorityPassesADisabledOneOver) {
  for (uint32_t i : {0, 2, 3}) board_.ApicWrite(i, apic::kTpr, 0x20);
  board_.ApicWrite(1, apic::kSvr, 0xff);
  board_.Command(0, apic::kLowest | apic::kAssert | apic::kLogical | 0x80, 0x06);
  EXPECT_THAT(Reached(0x80), ElementsAre(2));
}

TEST_F(Interprocessor, AnNmiIsNoMaskableInterrupt) {
  board_.ApicWrite(2, apic::kTpr, 0xff);
  uint64_t before = board_.Attention(2);
  board_.Command(0, apic::kNmi | apic::kAssert | 0x40, 2);
  EXPECT_GT(board_.Attention(2), before);
  EXPECT_TRUE(board_.platform.HasWork(2)) << "it ends a HLT";
  EXPECT_FALSE(board_.Pending(2)) << "its vector is ignored";
  EXPECT_TRUE(board_.platform.TakeNmi(2));
  EXPECT_FALSE(board_.platform.TakeNmi(2));
  EXPECT_FALSE(board_.platform.HasWork(2));
  EXPECT_FALSE(board_.platform.TakeNmi(1));
}

TEST_F(Interprocessor, AnNmiToTheOthersSparesTheSender) {
  board_.Command(1, apic::kNmi | apic::kAssert | apic::kToOthers);
  EXPECT_TRUE(board_.platform.TakeNmi(0));
  EXPECT_FALSE(board_.platform.TakeNmi(1));
  EXPECT_TRUE(board_.platform.TakeNmi(2));
  EXPECT_TRUE(board_.platform.TakeNmi(3));
}

TEST_F(Interprocessor, InitAndStartupReachADisabledApic) {
  board_.ApicWrite(3, apic::kSvr, 0xff);
  board_.Command(0, apic::kInit | apic::kAssert, 3);
  board_.Command(0, apic::kStartup | apic::kAssert | 0x9a, 3);
  EXPECT_THAT(board_.told().init, ElementsAre(3));
  EXPECT_THAT(board_.told().startup, ElementsAre(Pair(3, 0x9a)));
  EXPECT_THAT(Reached(0x9a), IsEmpty()) << "the vector is a page of memory";
}

TEST_F(Interprocessor, InitAndStartupOfAllTheOthers) {
  board_.Command(0, apic::kInit | apic::kAssert | apic::kToOthers);
  board_.Command(0, apic::kStartup | apic::kAssert | apic::kToOthers | 0x08);
  EXPECT_THAT(board_.told().init, ElementsAre(1, 2, 3));
  EXPECT_THAT(board_.told().startup, ElementsAre(Pair(1, 8), Pair(2, 8), Pair(3, 8)));
}

TEST_F(Interprocessor, AnInitLevelDeassertIsIgnored) {
  board_.Command(0, apic::kInit | apic::kLevel | apic::kToAll);
  board_.Command(0, apic::kInit | apic::kLevel, 2);
  EXPECT_THAT(board_.told().init, IsEmpty());
  board_.Command(0, apic::kInit | apic::kLevel | apic::kAssert, 2);
  EXPECT_THAT(board_.told().init, ElementsAre(2)) << "asserted, it is an INIT";
}

TEST_F(Interprocessor, AStartupVectorMayBeBelow16) {
  board_.Command(0, apic::kStartup | apic::kAssert | 0x01, 1);
  EXPECT_THAT(board_.told().startup, ElementsAre(Pair(1, 1)));
  EXPECT_EQ(board_.Errors(0), 0u);
}

TEST_F(Interprocessor, MessagesOfTheHypervisorGoByApicId) {
  EXPECT_TRUE(board_.platform.SendTo(3, DeliveryMode::kFixed, 0x70));
  EXPECT_THAT(Reached(0x70), ElementsAre(3));
  EXPECT_FALSE(board_.platform.SendTo(4, DeliveryMode::kFixed, 0x70)) << "there is none";
  EXPECT_FALSE(board_.platform.SendTo(0xff, DeliveryMode::kFixed, 0x70)) << "nor broadcast";
  EXPECT_THAT(Reached(0x70), IsEmpty());
}

}  // namespace
}  // namespace trapline::machine

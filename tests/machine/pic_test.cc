// SPDX-License-Identifier: Apache-2.0
// The pair of interrupt controllers: command words, priorities, the cascade (8259A datasheet).
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/machine/board.h"

namespace trapline::machine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

// Operation command words.
constexpr uint8_t kEoi = 0x20, kSpecificEoi = 0x60, kRotateEoi = 0xa0, kRotateSpecificEoi = 0xe0,
                  kRotateAuto = 0x80, kNoRotateAuto = 0x00, kSetPriority = 0xc0;
constexpr uint8_t kReadIrr = 0x0a, kReadIsr = 0x0b, kPoll = 0x0c, kSpecialMask = 0x68,
                  kNoSpecialMask = 0x48;
// Of ICW4.
constexpr uint8_t k8086 = 1, kAutoEoi = 2, kFullyNested = 0x10;

// Both chips initialised, vectors 0x20 and 0x28, all lines open. vCPU 0 takes what they put.
class PicTest : public testing::Test {
 protected:
  PicTest() { Initialise(k8086, k8086); }
  void Initialise(uint8_t master_icw4, uint8_t slave_icw4) {
    Chip(layout::kPicMaster, 0x20, 1 << 2, master_icw4);
    Chip(layout::kPicSlave, 0x28, 2, slave_icw4);
  }
  void Chip(uint16_t port, uint8_t base, uint8_t cascade, uint8_t icw4) {
    board_.Out(port, 0x11);
    for (uint8_t word : {base, cascade, icw4, uint8_t{0}}) board_.Out(port + 1, word);
  }
  void Master(uint8_t command) { board_.Out(layout::kPicMaster, command); }
  void Slave(uint8_t command) { board_.Out(layout::kPicSlave, command); }
  void MaskMaster(uint8_t mask) { board_.Out(layout::kPicMaster + 1, mask); }
  void MaskSlave(uint8_t mask) { board_.Out(layout::kPicSlave + 1, mask); }
  uint32_t Read(uint16_t port, uint8_t what) {
    board_.Out(port, what);
    return board_.In(port);
  }
  uint32_t MasterIsr() { return Read(layout::kPicMaster, kReadIsr); }
  uint32_t MasterIrr() { return Read(layout::kPicMaster, kReadIrr); }
  uint32_t SlaveIsr() { return Read(layout::kPicSlave, kReadIsr); }
  Board board_;
};

TEST(Pic, FirmwareLeavesItWithTheVectorsOfRealMode) {
  Board board;
  EXPECT_EQ(board.In(layout::kPicMaster + 1), 0xfbu) << "the cascade is open";
  EXPECT_EQ(board.In(layout::kPicSlave + 1), 0xf3u) << "and so are lines 10 and 11";
  board.Pulse(10);
  EXPECT_THAT(board.Take(), Optional(0x72));
  board.Out(layout::kPicSlave, kEoi);
  board.Out(layout::kPicMaster, kEoi);
  board.Out(layout::kPicMaster + 1, 0);
  board.Pulse(4);
  EXPECT_THAT(board.Take(), Optional(0x0c));
}

TEST(Pic, ReachesTheBootProcessorOnlyAndByAnOpenLintZero) {
  Board board(2);
  board.Raise(10);
  EXPECT_TRUE(board.Pending(0));
  EXPECT_FALSE(board.Pending(1));
  board.ApicWrite(0, apic::kLvtLint0, apic::kMasked | 0x700);
  EXPECT_FALSE(board.Pending(0));
  uint64_t before = board.Attention(0);
  board.ApicWrite(0, apic::kLvtLint0, 0x700);
  EXPECT_TRUE(board.Pending(0));
  EXPECT_GT(board.Attention(0), before);
}

TEST(Pic, ReachesABootProcessorWithoutALocalApic) {
  Board board;
  ASSERT_TRUE(board.SetMsr(0, apic::kBaseMsr, layout::kLocalApicBase));
  board.Raise(10);
  EXPECT_THAT(board.Take(), Optional(0x72));
}

TEST_F(PicTest, TheLowBitsOfTheBaseAreTheLine) {
  Chip(layout::kPicMaster, 0x4f, 1 << 2, k8086);
  board_.Pulse(3);
  EXPECT_THAT(board_.Take(), Optional(0x4b));
}

TEST_F(PicTest, InitialisingForgetsMaskServiceAndEdges) {
  board_.Raise(3);
  EXPECT_THAT(board_.Take(), Optional(0x23));
  MaskMaster(0x55);
  board_.Raise(4);
  Master(kReadIsr);
  Master(0x11);
  EXPECT_EQ(board_.In(layout::kPicMaster), 0u) << "reads requests, and an edge must come anew";
  for (uint8_t word : {0x20, 1 << 2, 1}) board_.Out(layout::kPicMaster + 1, word);
  EXPECT_EQ(board_.In(layout::kPicMaster + 1), 0u) << "the mask";
  EXPECT_EQ(MasterIsr(), 0u);
  EXPECT_FALSE(board_.Pending());
  board_.Lower(4);
  board_.Raise(4);
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x24));
}

TEST_F(PicTest, WithoutIcw4ThereIsNone) {
  board_.Out(layout::kPicMaster, 0x10);
  board_.Out(layout::kPicMaster + 1, 0x40);
  board_.Out(layout::kPicMaster + 1, 1 << 2);
  board_.Out(layout::kPicMaster + 1, 0x0f);
  EXPECT_EQ(board_.In(layout::kPicMaster + 1), 0x0fu) << "the next word is the mask";
}

TEST_F(PicTest, ASingleChipTakesNoIcw3) {
  board_.Out(layout::kPicMaster, 0x13);
  board_.Out(layout::kPicMaster + 1, 0x40);
  board_.Out(layout::kPicMaster + 1, k8086);
  board_.Out(layout::kPicMaster + 1, 0x0f);
  EXPECT_EQ(board_.In(layout::kPicMaster + 1), 0x0fu);
}

TEST_F(PicTest, AMaskedLineWaits) {
  MaskMaster(1 << 4);
  board_.Raise(4);
  EXPECT_FALSE(board_.Pending());
  EXPECT_EQ(MasterIrr(), 1u << 4) << "requested all the same";
  uint64_t before = board_.Attention(0);
  MaskMaster(0);
  EXPECT_GT(board_.Attention(0), before);
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x24));
}

TEST_F(PicTest, LineZeroGoesFirst) {
  for (unsigned line : {6, 0, 4, 1}) board_.Raise(line);
  std::vector<uint8_t> order;
  while (auto vector = board_.Take()) {
    order.push_back(*vector);
    Master(kEoi);
  }
  EXPECT_THAT(order, ElementsAre(0x20, 0x21, 0x24, 0x26));
}

TEST_F(PicTest, OnlyHigherPriorityInterruptsAHandler) {
  board_.Raise(4);
  EXPECT_THAT(board_.Take(), Optional(0x24));
  EXPECT_EQ(MasterIsr(), 1u << 4);
  EXPECT_EQ(MasterIrr(), 0u);
  board_.Raise(5);
  EXPECT_FALSE(board_.Pending());
  board_.Raise(3);
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x23));
  EXPECT_EQ(MasterIsr(), 1u << 3 | 1u << 4);
  Master(kEoi);
  EXPECT_EQ(MasterIsr(), 1u << 4) << "the highest in service was ended";
  Master(kEoi);
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x25));
}

TEST_F(PicTest, ALineWaitsForItsOwnEnd) {
  board_.Pulse(4);
  EXPECT_THAT(board_.Take(), Optional(0x24));
  board_.Pulse(4);
  EXPECT_EQ(MasterIrr(), 1u << 4);
  EXPECT_FALSE(board_.Pending()) << "the same priority is inhibited too";
  Master(kEoi);
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x24));
}

TEST_F(PicTest, ASpecificEndConcernsItsLine) {
  board_.Raise(4);
  EXPECT_THAT(board_.Take(), Optional(0x24));
  board_.Raise(1);
  EXPECT_THAT(board_.Take(), Optional(0x21));
  Master(kSpecificEoi | 4);
  EXPECT_EQ(MasterIsr(), 1u << 1);
}

TEST_F(PicTest, AutomaticEndLeavesNothingInService) {
  Initialise(k8086 | kAutoEoi, k8086);
  board_.Pulse(4);
  EXPECT_THAT(board_.Take(), Optional(0x24));
  EXPECT_EQ(MasterIsr(), 0u);
  board_.Pulse(5);
  EXPECT_THAT(board_.Take(), Optional(0x25));
}

TEST_F(PicTest, RotatingOnTheEndMakesALineTheLowest) {
  board_.Raise(4);
  EXPECT_THAT(board_.Take(), Optional(0x24));
  Master(kRotateEoi);
  EXPECT_EQ(MasterIsr(), 0u);
  for (unsigned line : {3, 5}) board_.Raise(line);
  EXPECT_THAT(board_.Take(), Optional(0x25)) << "after 4 comes 5";
  Master(kRotateSpecificEoi | 5);
  EXPECT_EQ(MasterIsr(), 0u);
  board_.Pulse(6);
  EXPECT_THAT(board_.Take(), Optional(0x26));
}

TEST_F(PicTest, SettingThePriorityNamesTheLowest) {
  Master(kSetPriority | 5);
  for (unsigned line : {0, 5, 6, 7}) board_.Pulse(line);
  std::vector<uint8_t> order;
  while (auto vector = board_.Take()) {
    order.push_back(*vector);
    Master(kSpecificEoi | (*vector & 7));
  }
  EXPECT_THAT(order, ElementsAre(0x26, 0x27, 0x20, 0x25));
}

TEST_F(PicTest, RotatingOnTheAutomaticEnd) {
  Initialise(k8086 | kAutoEoi, k8086);
  Master(kRotateAuto);
  board_.Pulse(3);
  EXPECT_THAT(board_.Take(), Optional(0x23));
  for (unsigned line : {3, 4}) board_.Pulse(line);
  EXPECT_THAT(board_.Take(), Optional(0x24));
  EXPECT_THAT(board_.Take(), Optional(0x23));
  Master(kNoRotateAuto);
  Master(kSetPriority | 7);
  board_.Pulse(5);
  EXPECT_THAT(board_.Take(), Optional(0x25));
  for (unsigned line : {5, 6}) board_.Pulse(line);
  EXPECT_THAT(board_.Take(), Optional(0x25)) << "priorities stay";
}

TEST_F(PicTest, TheSlaveIsOnLineTwo) {
  board_.Raise(9);
  EXPECT_EQ(MasterIrr(), 1u << 2);
  EXPECT_THAT(board_.Take(), Optional(0x29));
  EXPECT_EQ(MasterIsr(), 1u << 2);
  EXPECT_EQ(SlaveIsr(), 1u << 1);
  board_.Raise(3);
  EXPECT_FALSE(board_.Pending()) << "line 3 comes after the slave's";
  board_.Raise(1);
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x21)) << "line 1 before";
}

TEST_F(PicTest, BothChipsWantAnEnd) {
  board_.Pulse(9);
  EXPECT_THAT(board_.Take(), Optional(0x29));
  board_.Pulse(10);
  Master(kEoi);
  EXPECT_FALSE(board_.Pending()) << "the slave still serves line 9";
  Slave(kEoi);
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x2a));
}

TEST_F(PicTest, AHigherLineOfTheSlaveWaitsForTheMaster) {
  board_.Pulse(12);
  EXPECT_THAT(board_.Take(), Optional(0x2c));
  board_.Pulse(9);
  EXPECT_FALSE(board_.Pending()) << "the slave is locked out while its line is in service";
  Master(kEoi);
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x29));
}

TEST_F(PicTest, AFullyNestedMasterLetsTheSlaveNest) {
  Initialise(k8086 | kFullyNested, k8086);
  board_.Pulse(12);
  EXPECT_THAT(board_.Take(), Optional(0x2c));
  board_.Pulse(9);
  EXPECT_THAT(board_.Take(), Optional(0x29));
  board_.Pulse(13);
  EXPECT_FALSE(board_.Pending()) << "a lower one waits";
}

TEST_F(PicTest, SpecialMaskModeLetsLowerLinesThroughAMaskedHandler) {
  board_.Pulse(3);
  EXPECT_THAT(board_.Take(), Optional(0x23));
  board_.Pulse(6);
  EXPECT_FALSE(board_.Pending());
  MaskMaster(1 << 3);
  EXPECT_FALSE(board_.Pending()) << "the mask alone is not enough";
  Master(kSpecialMask);
  EXPECT_THAT(board_.Take(), Optional(0x26));
  Master(kSpecificEoi | 6);
  Master(kNoSpecialMask);
  board_.Pulse(6);
  EXPECT_FALSE(board_.Pending());
}

TEST_F(PicTest, InSpecialMaskModeANonSpecificEndSparesWhatIsMasked) {
  board_.Pulse(3);
  EXPECT_THAT(board_.Take(), Optional(0x23));
  MaskMaster(1 << 3);
  Master(kSpecialMask);
  board_.Pulse(6);
  EXPECT_THAT(board_.Take(), Optional(0x26));
  Master(kEoi);
  EXPECT_EQ(MasterIsr(), 1u << 3);
}

TEST_F(PicTest, PollingTakesTheInterrupt) {
  board_.Pulse(5);
  Master(kPoll);
  EXPECT_EQ(board_.In(layout::kPicMaster), 0x85u);
  EXPECT_FALSE(board_.Pending());
  EXPECT_EQ(MasterIsr(), 1u << 5);
  Master(kPoll);
  EXPECT_FALSE(board_.In(layout::kPicMaster) & 0x80) << "none is left";
}

TEST_F(PicTest, ASlaveIsPolledByItself) {
  board_.Pulse(12);
  Slave(kPoll);
  EXPECT_EQ(board_.In(layout::kPicSlave), 0x84u);
  EXPECT_EQ(SlaveIsr(), 1u << 4);
  EXPECT_EQ(MasterIsr(), 0u);
  EXPECT_FALSE(board_.Pending());
}

TEST_F(PicTest, ReadsRequestsOrServiceAsLastChosen) {
  board_.Pulse(3);
  EXPECT_THAT(board_.Take(), Optional(0x23));
  board_.Pulse(5);
  Master(kReadIsr);
  EXPECT_EQ(board_.In(layout::kPicMaster), 1u << 3);
  EXPECT_EQ(board_.In(layout::kPicMaster), 1u << 3) << "the choice stays";
  Master(kReadIrr);
  EXPECT_EQ(board_.In(layout::kPicMaster), 1u << 5);
  Master(kSpecialMask);
  EXPECT_EQ(board_.In(layout::kPicMaster), 1u << 5) << "another command leaves it";
}

TEST_F(PicTest, AnEdgeIsOneInterrupt) {
  board_.Raise(4);
  EXPECT_THAT(board_.Take(), Optional(0x24));
  Master(kEoi);
  EXPECT_FALSE(board_.Pending()) << "the line is still high";
  board_.Raise(4);
  EXPECT_FALSE(board_.Pending());
  board_.Lower(4);
  board_.Raise(4);
  EXPECT_THAT(board_.Take(), Optional(0x24));
}

TEST_F(PicTest, ALevelInterruptsUntilItFalls) {
  board_.Out(layout::kElcr, 1 << 5);
  board_.Raise(5);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(board_.TakeAll(), ElementsAre(0x25));
    Master(kEoi);
  }
  EXPECT_TRUE(board_.Pending());
  board_.Lower(5);
  EXPECT_FALSE(board_.Pending());
  EXPECT_EQ(MasterIrr(), 0u);
}

TEST_F(PicTest, ALevelOfTheSlave) {
  board_.Out(layout::kElcr + 1, 1 << 1);
  board_.Raise(9);
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x29));
  board_.Lower(9);
  Slave(kEoi);
  Master(kEoi);
  EXPECT_THAT(board_.TakeAll(), IsEmpty());
}

TEST_F(PicTest, ALineThatIsHighAsksWhenItIsMadeALevel) {
  board_.Raise(5);
  EXPECT_THAT(board_.Take(), Optional(0x25));
  Master(kEoi);
  board_.Out(layout::kElcr, 1 << 5);
  EXPECT_THAT(board_.TakeAll(), ElementsAre(0x25));
}

TEST_F(PicTest, TimerKeyboardCascadeAndClockStayEdges) {
  board_.Out(layout::kElcr, 0xff);
  board_.Out(layout::kElcr + 1, 0xff);
  EXPECT_EQ(board_.In(layout::kElcr), 0xf8u);
  EXPECT_EQ(board_.In(layout::kElcr + 1), 0xdeu) << "line 13 is the coprocessor's";
}

TEST(PicAlone, AnInterruptThatWentAwayIsASpuriousSeven) {
  Pic pic([] {});
  pic.Write(false, 0, 0x11);
  for (uint8_t word : {0x20, 1 << 2, 1, 0}) pic.Write(false, 1, word);
  pic.WriteElcr(false, 1 << 5);
  pic.SetLine(5, true);
  EXPECT_TRUE(pic.Pending());
  pic.SetLine(5, false);
  EXPECT_FALSE(pic.Pending());
  EXPECT_EQ(pic.Acknowledge(), 0x27);
  pic.Write(false, 0, kReadIsr);
  EXPECT_EQ(pic.Read(false, 0), 0) << "it is not in service";
}

}  // namespace
}  // namespace trapline::machine

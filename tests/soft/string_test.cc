// SPDX-License-Identifier: Apache-2.0
// Repeated string instructions: bulk paths, overlap, page crossings, faults in between.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/soft/guest_machine.h"

namespace trapline::engine {
namespace {

class StringTest : public testing::Test {
 protected:
  StringTest() {
    for (uint64_t i = 0; i < 0x10000; ++i) {
      machine_.Poke<uint8_t>(GuestMachine::kData + i, static_cast<uint8_t>(i * 7 + (i >> 8)));
    }
    std::memcpy(before_, machine_.ram() + GuestMachine::kData, sizeof before_);
  }
  uint64_t& gpr(x86::Gpr name) { return machine_.registers.gpr[name]; }
  void Point(uint64_t source, uint64_t target, uint64_t count) {
    gpr(x86::kRsi) = GuestMachine::kData + source;
    gpr(x86::kRdi) = GuestMachine::kData + target;
    gpr(x86::kRcx) = count;
  }
  uint8_t At(uint64_t offset) { return machine_.Peek<uint8_t>(GuestMachine::kData + offset); }

  GuestMachine machine_;
  uint8_t before_[0x10000];
};

TEST_F(StringTest, MovesAcrossPages) {
  Point(0x123, 0x8456, 0x3001);
  ASSERT_EQ(machine_.Run({0xf3, 0xa4}).reason, ExitReason::kHalt);
  for (uint64_t i = 0; i < 0x3001; ++i) ASSERT_EQ(At(0x8456 + i), before_[0x123 + i]) << i;
  EXPECT_EQ(At(0x8456 + 0x3001), before_[0x8456 + 0x3001]);
  EXPECT_EQ(gpr(x86::kRcx), 0u);
  EXPECT_EQ(gpr(x86::kRsi), GuestMachine::kData + 0x123 + 0x3001);
  EXPECT_EQ(gpr(x86::kRdi), GuestMachine::kData + 0x8456 + 0x3001);
}

TEST_F(StringTest, OverlapRepeatsThePattern) {
  Point(0x1ff0, 0x1ff3, 0x200);
  ASSERT_EQ(machine_.Run({0xf3, 0xa4}).reason, ExitReason::kHalt);
  for (uint64_t i = 0; i < 0x200; ++i) ASSERT_EQ(At(0x1ff3 + i), before_[0x1ff0 + i % 3]) << i;
}

TEST_F(StringTest, MovesDownwards) {
  machine_.registers.rflags |= x86::rflags::kDf;
  Point(0x2000, 0x2100, 0x40);
  ASSERT_EQ(machine_.Run({0xf3, 0x48, 0xa5}).reason, ExitReason::kHalt);
  EXPECT_EQ(0, std::memcmp(machine_.ram() + GuestMachine::kData + 0x2108 - 0x200,
                           before_ + 0x2008 - 0x200, 0x200));
  EXPECT_EQ(gpr(x86::kRsi), GuestMachine::kData + 0x2000 - 0x200);
}

TEST_F(StringTest, FillsWordsThatSpanPages) {
  gpr(x86::kRax) = 0x1122334455667788;
  Point(0, 0x0ffd, 0x300);
  ASSERT_EQ(machine_.Run({0xf3, 0x48, 0xab}).reason, ExitReason::kHalt);
  for (uint64_t i = 0; i < 0x300; ++i) {
    ASSERT_EQ(machine_.Peek<uint64_t>(GuestMachine::kData + 0xffd + i * 8), 0x1122334455667788u);
  }
}

TEST_F(StringTest, FaultLeavesTheElementsDone) {
  gpr(x86::kRsi) = GuestMachine::kData;
  gpr(x86::kRdi) = GuestMachine::kSize - 24;
  gpr(x86::kRcx) = 10;
  EXPECT_EQ(machine_.Run({0xf3, 0x48, 0xa5}).reason, ExitReason::kShutdown);
  EXPECT_EQ(gpr(x86::kRcx), 7u);
  EXPECT_EQ(gpr(x86::kRdi), GuestMachine::kSize);
  EXPECT_EQ(gpr(x86::kRsi), GuestMachine::kData + 24);
  EXPECT_EQ(machine_.registers.rip, GuestMachine::kCode);
}

TEST_F(StringTest, ScanStopsBehindTheMatch) {
  machine_.Poke<uint8_t>(GuestMachine::kData + 0x100, 0);
  for (uint64_t i = 0; i < 0x100; ++i) machine_.Poke<uint8_t>(GuestMachine::kData + i, 1);
  gpr(x86::kRax) = 0;
  Point(0, 0, ~uint64_t{0});
  ASSERT_EQ(machine_.Run({0xf2, 0xae}).reason, ExitReason::kHalt);
  EXPECT_EQ(gpr(x86::kRdi), GuestMachine::kData + 0x101);
  EXPECT_EQ(gpr(x86::kRcx), ~uint64_t{0x101});
  EXPECT_TRUE(machine_.registers.rflags & x86::rflags::kZf);
}

TEST_F(StringTest, FaultingCompareKeepsFlags) {
  machine_.registers.rflags |= x86::rflags::kCf | x86::rflags::kOf;
  std::memset(machine_.ram() + GuestMachine::kData, 0, 0x100);
  std::memset(machine_.ram() + GuestMachine::kSize - 4, 0, 4);
  Point(0, 0, 100);
  gpr(x86::kRdi) = GuestMachine::kSize - 4;
  EXPECT_EQ(machine_.Run({0xf3, 0xa6}).reason, ExitReason::kShutdown);
  EXPECT_EQ(gpr(x86::kRcx), 96u);
  EXPECT_EQ(machine_.registers.rflags & x86::rflags::kArithmetic,
            x86::rflags::kCf | x86::rflags::kOf);
}

TEST_F(StringTest, CountOfZeroTouchesNothing) {
  gpr(x86::kRsi) = gpr(x86::kRdi) = GuestMachine::kSize;  // not mapped
  gpr(x86::kRcx) = 0;
  EXPECT_EQ(machine_.Run({0xf3, 0xa4}).reason, ExitReason::kHalt);
}

TEST_F(StringTest, NarrowAddressesWrap) {
  gpr(x86::kRcx) = 0xffffffff00000002;
  gpr(x86::kRdi) = 0xabcdef0000000000 | (GuestMachine::kData + 0x10);
  gpr(x86::kRax) = 0x5a;
  ASSERT_EQ(machine_.Run({0x67, 0xf3, 0xaa}).reason, ExitReason::kHalt);
  EXPECT_EQ(At(0x10), 0x5a);
  EXPECT_EQ(At(0x11), 0x5a);
  EXPECT_EQ(gpr(x86::kRcx), 0u);
  EXPECT_EQ(gpr(x86::kRdi), GuestMachine::kData + 0x12);
}

TEST_F(StringTest, RepeatedMoveOverItsOwnCodeIsSeen) {
  // The bytes behind the instruction become: mov bl, 9; hlt
  const uint8_t kNew[] = {0xb3, 0x09, 0xf4};
  std::memcpy(machine_.ram() + GuestMachine::kData, kNew, sizeof kNew);
  Point(0, 0, sizeof kNew);
  gpr(x86::kRdi) = GuestMachine::kCode + 2;
  ASSERT_EQ(machine_.Run({0xf3, 0xa4, 0xb3, 0x01, 0x90}).reason, ExitReason::kHalt);
  EXPECT_EQ(gpr(x86::kRbx) & 0xff, 9u);
}

}  // namespace
}  // namespace trapline::engine

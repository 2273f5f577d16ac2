// SPDX-License-Identifier: Apache-2.0
// Decoding: operand fields, lengths, fusion, and what cannot be decoded.
#include "core/engine/soft/decode/decoder.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

#include "core/x86/registers.h"
#include "tests/soft/guest_machine.h"

namespace trapline::engine::soft {
namespace {

constexpr uint64_t kRip = 0x401000;

struct Decoded {
  DecodeResult result;
  Op op;
};

Decoded DecodeBytes(std::initializer_list<uint8_t> list, uint8_t code_size = 8) {
  std::vector<uint8_t> bytes(list);
  Decoded decoded;
  decoded.result = Decode({code_size}, kRip, bytes, &decoded.op);
  return decoded;
}

TEST(DecoderTest, FillsMemoryOperand) {
  Op op = DecodeBytes({0x4a, 0x8b, 0x44, 0xf3, 0xf8}).op;  // mov rax, [rbx + r14*8 - 8]
  EXPECT_EQ(op.length, 5);
  EXPECT_EQ(op.base, SlotOffset(x86::kRbx));
  EXPECT_EQ(op.index, SlotOffset(x86::kR14));
  EXPECT_EQ(op.scale, 3);
  EXPECT_EQ(op.disp, -8);
  EXPECT_EQ(op.reg, SlotOffset(x86::kRax));
  EXPECT_TRUE(op.flags & kOpMemory);
  EXPECT_FALSE(op.checked_segment);
}

TEST(DecoderTest, MakesRipRelativeAbsolute) {
  Op op = DecodeBytes({0x48, 0x8b, 0x05, 0x10, 0x00, 0x00, 0x00}).op;  // mov rax, [rip + 0x10]
  EXPECT_EQ(op.base, SlotOffset(kSlotZero));
  EXPECT_EQ(static_cast<uint64_t>(op.disp), kRip + 7 + 0x10);
}

TEST(DecoderTest, PutsHighBytesAtTheirOffset) {
  Op op = DecodeBytes({0x88, 0xfc}).op;  // mov ah, bh
  EXPECT_EQ(op.reg, SlotOffset(x86::kRax) + 1);
  EXPECT_EQ(op.rm, SlotOffset(x86::kRbx) + 1);
  op = DecodeBytes({0x40, 0x88, 0xfc}).op;  // mov spl, dil
  EXPECT_EQ(op.reg, SlotOffset(x86::kRsp));
  EXPECT_EQ(op.rm, SlotOffset(x86::kRdi));
}

TEST(DecoderTest, AddsSegmentBaseOfFsAndGsOnlyIn64BitMode) {
  Op op = DecodeBytes({0x65, 0x48, 0x8b, 0x00}).op;  // mov rax, gs:[rax]
  EXPECT_EQ(op.segment_base, SlotOffset(kSlotGsBase));
  EXPECT_FALSE(op.checked_segment);
  op = DecodeBytes({0x65, 0x8b, 0x00}, 4).op;
  EXPECT_EQ(op.segment, x86::kGs);
  EXPECT_TRUE(op.checked_segment);
  op = DecodeBytes({0x67, 0x8b, 0x00}).op;  // mov eax, [eax]
  EXPECT_TRUE(op.checked_segment);
  EXPECT_EQ(op.address_size, 4);
}

TEST(DecoderTest, SibWithoutBaseStaysSoWithRexB) {
  Op op = DecodeBytes({0x67, 0x4b, 0x8d, 0x0c, 0xe5, 1, 0, 0, 0}).op;  // lea rcx, [r12d*8 + 1]
  EXPECT_EQ(op.base, SlotOffset(kSlotZero));
  EXPECT_EQ(op.index, SlotOffset(x86::kR12));
}

TEST(DecoderTest, NearBranchesIgnoreOperandSizeIn64BitMode) {
  Op op = DecodeBytes({0x66, 0xe8, 0x00, 0x01, 0x00, 0x00}).op;
  EXPECT_EQ(op.length, 6);
  EXPECT_EQ(op.imm, kRip + 6 + 0x100);
  op = DecodeBytes({0x66, 0xe8, 0x00, 0x01}, 4).op;
  EXPECT_EQ(op.length, 4);
  EXPECT_EQ(op.imm, (kRip + 4 + 0x100) & 0xffff);
}

TEST(DecoderTest, TellsWhenBytesRunOut) {
  EXPECT_EQ(DecodeBytes({0x48, 0x8b}).result.status, DecodeStatus::kTooShort);
  EXPECT_EQ(DecodeBytes({0x66, 0x66, 0x66}).result.status, DecodeStatus::kTooShort);
}

TEST(DecoderTest, OverlongInstructionIsDone) {
  Decoded decoded = DecodeBytes(
      {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66});
  EXPECT_EQ(decoded.result.status, DecodeStatus::kDone);
  EXPECT_TRUE(decoded.result.ends_block);
  EXPECT_NE(decoded.op.run, nullptr);
}

TEST(DecoderTest, BranchesEndBlocks) {
  EXPECT_TRUE(DecodeBytes({0x74, 0x00}).result.ends_block);
  EXPECT_TRUE(DecodeBytes({0xc3}).result.ends_block);
  EXPECT_TRUE(DecodeBytes({0x8e, 0xd8}).result.ends_block);  // mov ds, eax
  EXPECT_FALSE(DecodeBytes({0x89, 0xd8}).result.ends_block);
}

TEST(DecoderTest, FusesCompareAndJump) {
  Op compare = DecodeBytes({0x48, 0x83, 0xf8, 0x05}).op;  // cmp rax, 5
  Op jump = DecodeBytes({0x7c, 0x10}).op;                 // jl
  Handler alone = compare.run;
  ASSERT_TRUE(Fuse({8}, &compare, jump));
  EXPECT_NE(compare.run, alone);
  EXPECT_EQ(compare.length, 6);
  EXPECT_EQ(compare.imm, jump.imm);
  EXPECT_TRUE(compare.flags & kOpPair);
  EXPECT_FALSE(Fuse({8}, &compare, jump)) << "a pair is not to be made a triple";
}

TEST(DecoderTest, DoesNotFuseWhatItMustNot) {
  Op compare = DecodeBytes({0x39, 0xd8}).op;
  Op move = DecodeBytes({0x89, 0xd8}).op;
  Op jump = DecodeBytes({0x74, 0x10}).op;
  EXPECT_FALSE(Fuse({8}, &compare, move));
  EXPECT_FALSE(Fuse({8}, &move, jump));
  EXPECT_FALSE(Fuse({4}, &compare, jump)) << "legacy jumps can fault on their own";
}

// Everything that is no instruction of this CPU traps as an invalid opcode, at its first byte.
TEST(DecoderTest, InvalidOpcodesTrap) {
  const std::vector<std::vector<uint8_t>> kInvalid = {
      {0x0f, 0x0b},                    // ud2
      {0x0f, 0xb9, 0xc0},              // ud1
      {0x0f, 0xff, 0xc0},              // ud0
      {0x0f, 0x01, 0xc1},              // vmcall
      {0x0f, 0x01, 0xd9},              // vmmcall
      {0xf0, 0x89, 0x07},              // lock mov
      {0xf0, 0x01, 0xc0},              // lock add between registers
      {0xf0, 0x39, 0x07},              // lock cmp
      {0xc5, 0xf8, 0x58, 0xc1},        // vaddps
      {0xc4, 0xe2, 0x70, 0xf2, 0xc2},  // andn
      {0x06},                          // push es, which 64-bit mode lacks
      {0x37},                          // aaa likewise
      {0x0f, 0xc7, 0xf0},              // rdrand
  };
  GuestMachine machine;
  for (const auto& bytes : kInvalid) {
    Exit exit = machine.Run(bytes);
    EXPECT_EQ(exit.reason, ExitReason::kTrap) << testing::PrintToString(bytes);
    EXPECT_EQ(machine.registers.rip, GuestMachine::kCode) << testing::PrintToString(bytes);
  }
}

// CPUs without LZCNT and TZCNT execute BSR and BSF, and those without CET or MPX execute NOPs.
TEST(DecoderTest, UnadvertisedEncodingsMeanWhatTheyMeantBefore) {
  GuestMachine machine;
  machine.registers.gpr[x86::kRbx] = 0x10;
  EXPECT_EQ(machine.Run({0xf3, 0x0f, 0xbd, 0xc3}).reason, ExitReason::kHalt);  // lzcnt / bsr
  EXPECT_EQ(machine.registers.gpr[x86::kRax], 4);
  EXPECT_EQ(machine.Run({0xf3, 0x0f, 0x1e, 0xfa}).reason, ExitReason::kHalt);  // endbr64
  EXPECT_EQ(machine.Run({0xf3, 0x0f, 0x1b, 0x00}).reason, ExitReason::kHalt);  // bndmk
}

}  // namespace
}  // namespace trapline::engine::soft

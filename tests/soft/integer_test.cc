// SPDX-License-Identifier: Apache-2.0
// Integer instructions with what the comparison against the real CPU cannot show: legacy modes,
// faults that leave everything as it was, instruction counts, atomicity.
#include <gtest/gtest.h>

#include <array>

#include "tests/soft/guest_machine.h"

namespace trapline::engine {
namespace {

namespace f = x86::rflags;

class IntegerTest : public testing::Test {
 protected:
  uint64_t& gpr(x86::Gpr name) { return machine_.registers.gpr[name]; }
  uint64_t flags() const { return machine_.registers.rflags & f::kArithmetic; }

  GuestMachine machine_;
};

TEST_F(IntegerTest, AddSetsAllFlags) {
  gpr(x86::kRax) = 0x7fffffff;
  gpr(x86::kRbx) = 1;
  ASSERT_EQ(machine_.Run({0x01, 0xd8}).reason, ExitReason::kHalt);  // add eax, ebx
  EXPECT_EQ(gpr(x86::kRax), 0x80000000u);
  EXPECT_EQ(flags(), f::kOf | f::kSf | f::kAf | f::kPf);
}

TEST_F(IntegerTest, IncKeepsCarry) {
  machine_.registers.rflags |= f::kCf;
  gpr(x86::kRax) = ~uint64_t{0};
  machine_.Run({0x48, 0xff, 0xc0});
  EXPECT_EQ(gpr(x86::kRax), 0u);
  EXPECT_EQ(flags(), f::kCf | f::kZf | f::kPf | f::kAf);
}

// PUSHF after POPF: all 64 combinations survive the lazy form, the impossible ones too.
TEST_F(IntegerTest, AllFlagCombinationsRoundTrip) {
  for (unsigned i = 0; i < 64; ++i) {
    uint64_t wanted = (i & 1 ? f::kCf : 0) | (i & 2 ? f::kPf : 0) | (i & 4 ? f::kAf : 0) |
                      (i & 8 ? f::kZf : 0) | (i & 16 ? f::kSf : 0) | (i & 32 ? f::kOf : 0);
    gpr(x86::kRax) = wanted;
    gpr(x86::kRsp) = GuestMachine::kStackTop;
    machine_.Run({0x50, 0x9d, 0x9c, 0x5b});  // push rax; popf; pushf; pop rbx
    EXPECT_EQ(gpr(x86::kRbx) & f::kArithmetic, wanted);
    EXPECT_EQ(flags(), wanted);
  }
}

// Each condition against each flag combination, alone and fused with the instruction in front.
TEST_F(IntegerTest, FusedJumpsAgreeWithSetcc) {
  constexpr std::array<uint64_t, 6> kValues = {0,          1,          0x7fffffff,
                                               0x80000000, 0xfffffffe, 0xffffffff};
  for (uint8_t opcode : {0x39, 0x85, 0x29, 0x01, 0x21}) {  // cmp, test, sub, add, and
    for (uint8_t condition = 0; condition < 16; ++condition) {
      for (uint64_t a : kValues) {
        for (uint64_t b : kValues) {
          gpr(x86::kRax) = gpr(x86::kRdx) = a;
          gpr(x86::kRbx) = b;
          gpr(x86::kRcx) = gpr(x86::kRsi) = 0;
          // op edx, ebx; setCC cl; op eax, ebx; jCC +2; jmp +2; mov sil, 1
          machine_.Run({opcode, 0xda, 0x0f, static_cast<uint8_t>(0x90 | condition), 0xc1, opcode,
                        0xd8, static_cast<uint8_t>(0x70 | condition), 0x02, 0xeb, 0x03, 0x40, 0xb6,
                        0x01});
          ASSERT_EQ(gpr(x86::kRcx), gpr(x86::kRsi))
              << std::hex << int{opcode} << " condition " << int{condition} << " " << a << " " << b;
        }
      }
    }
  }
}

TEST_F(IntegerTest, FusedCountersAgreeWithSetcc) {
  for (uint8_t modrm : {0xc0, 0xc8}) {  // inc, dec
    for (uint8_t condition = 0; condition < 16; ++condition) {
      for (uint64_t a : {uint64_t{0}, uint64_t{1}, uint64_t{0x7fffffff}, uint64_t{0x80000000}}) {
        gpr(x86::kRax) = gpr(x86::kRdx) = a;
        gpr(x86::kRcx) = gpr(x86::kRsi) = 0;
        // inc edx; setCC cl; inc eax; jCC +2; jmp +3; mov sil, 1
        machine_.Run({0xff, static_cast<uint8_t>(modrm | 2), 0x0f,
                      static_cast<uint8_t>(0x90 | condition), 0xc1, 0xff, modrm,
                      static_cast<uint8_t>(0x70 | condition), 0x02, 0xeb, 0x03, 0x40, 0xb6, 0x01});
        ASSERT_EQ(gpr(x86::kRcx), gpr(x86::kRsi)) << int{modrm} << " condition " << int{condition};
        ASSERT_EQ(gpr(x86::kRax), gpr(x86::kRdx));
      }
    }
  }
}

TEST_F(IntegerTest, CountsBothInstructionsOfAPair) {
  uint64_t before = machine_.vcpu().instructions_retired();
  machine_.Run({0x39, 0xc0, 0x74, 0x00});  // cmp eax, eax; je +0; hlt
  EXPECT_EQ(machine_.vcpu().instructions_retired() - before, 3u);
}

TEST_F(IntegerTest, DivisionFaultsChangeNothing) {
  gpr(x86::kRax) = 5;
  gpr(x86::kRdx) = 7;
  gpr(x86::kRbx) = 7;
  // No IDT: the divide error becomes a triple fault, registers as at the instruction.
  EXPECT_EQ(machine_.Run({0xf7, 0xf3}).reason, ExitReason::kShutdown);  // div ebx
  EXPECT_EQ(gpr(x86::kRax), 5u);
  EXPECT_EQ(gpr(x86::kRdx), 7u);
  EXPECT_EQ(machine_.registers.rip, GuestMachine::kCode);

  gpr(x86::kRax) = uint64_t{1} << 63;
  gpr(x86::kRdx) = ~uint64_t{0};
  gpr(x86::kRbx) = ~uint64_t{0};
  EXPECT_EQ(machine_.Run({0x48, 0xf7, 0xfb}).reason, ExitReason::kShutdown);  // idiv rbx
}

TEST_F(IntegerTest, WideDivision) {
  gpr(x86::kRdx) = 3;
  gpr(x86::kRax) = 10;
  gpr(x86::kRbx) = 16;
  ASSERT_EQ(machine_.Run({0x48, 0xf7, 0xf3}).reason, ExitReason::kHalt);
  EXPECT_EQ(gpr(x86::kRax), uint64_t{3} << 60);
  EXPECT_EQ(gpr(x86::kRdx), 10u);
}

TEST_F(IntegerTest, PopToMemoryUsesStackPointerBehindThePop) {
  gpr(x86::kRsp) = GuestMachine::kData;
  machine_.Poke<uint64_t>(GuestMachine::kData, 0x1234);
  ASSERT_EQ(machine_.Run({0x8f, 0x04, 0x24}).reason, ExitReason::kHalt);  // pop [rsp]
  EXPECT_EQ(machine_.Peek<uint64_t>(GuestMachine::kData + 8), 0x1234u);
}

TEST_F(IntegerTest, FaultingPopToMemoryRestoresStackPointer) {
  gpr(x86::kRax) = GuestMachine::kSize;  // not mapped
  EXPECT_EQ(machine_.Run({0x8f, 0x00}).reason, ExitReason::kShutdown);
  EXPECT_EQ(gpr(x86::kRsp), GuestMachine::kStackTop);
}

// As on processors of the vendor that CPUID names; AMD's exchange RAX and R8.
TEST_F(IntegerTest, PauseIgnoresRexB) {
  gpr(x86::kRax) = 1;
  gpr(x86::kR8) = 2;
  ASSERT_EQ(machine_.Run({0xf3, 0x49, 0x90}).reason, ExitReason::kHalt);
  EXPECT_EQ(gpr(x86::kRax), 1u);
  EXPECT_EQ(gpr(x86::kR8), 2u);
  ASSERT_EQ(machine_.Run({0x49, 0x90}).reason, ExitReason::kHalt);  // xchg rax, r8
  EXPECT_EQ(gpr(x86::kRax), 2u);
  EXPECT_EQ(gpr(x86::kR8), 1u);
}

TEST_F(IntegerTest, BitStringReachesBothWays) {
  gpr(x86::kRbx) = GuestMachine::kData;
  gpr(x86::kRcx) = static_cast<uint64_t>(-65);
  ASSERT_EQ(machine_.Run({0x48, 0x0f, 0xab, 0x0b}).reason, ExitReason::kHalt);  // bts [rbx], rcx
  EXPECT_EQ(machine_.Peek<uint64_t>(GuestMachine::kData - 16), uint64_t{1} << 63);
  EXPECT_FALSE(flags() & f::kCf);
}

TEST_F(IntegerTest, CompareExchange16WantsAlignment) {
  gpr(x86::kRsi) = GuestMachine::kData + 8;
  EXPECT_EQ(machine_.Run({0xf0, 0x48, 0x0f, 0xc7, 0x0e}).reason, ExitReason::kShutdown);
  gpr(x86::kRsi) = GuestMachine::kData;
  machine_.Poke<uint64_t>(GuestMachine::kData, 1);
  machine_.Poke<uint64_t>(GuestMachine::kData + 8, 2);
  gpr(x86::kRax) = 1;
  gpr(x86::kRdx) = 2;
  gpr(x86::kRbx) = 3;
  gpr(x86::kRcx) = 4;
  ASSERT_EQ(machine_.Run({0xf0, 0x48, 0x0f, 0xc7, 0x0e}).reason, ExitReason::kHalt);
  EXPECT_TRUE(flags() & f::kZf);
  EXPECT_EQ(machine_.Peek<uint64_t>(GuestMachine::kData), 3u);
  EXPECT_EQ(machine_.Peek<uint64_t>(GuestMachine::kData + 8), 4u);
}

// Stores into the running block are seen at the next instruction.
TEST_F(IntegerTest, CodeModifiesTheInstructionBehindIt) {
  gpr(x86::kRbx) = GuestMachine::kCode;
  // mov byte [rbx + 5], 7; mov al, 1
  ASSERT_EQ(machine_.Run({0xc6, 0x43, 0x05, 0x07, 0xb0, 0x01}).reason, ExitReason::kHalt);
  EXPECT_EQ(gpr(x86::kRax) & 0xff, 7u);
}

// --- 32- and 16-bit code ---

class LegacyTest : public IntegerTest {
 protected:
  LegacyTest() { machine_.EnterLegacy(true); }
};

TEST_F(LegacyTest, DecimalAdjustAddsAsBcd) {
  for (unsigned a = 0; a < 100; ++a) {
    for (unsigned b = 0; b < 100; ++b) {
      gpr(x86::kRax) = a / 10 << 4 | a % 10;
      gpr(x86::kRbx) = b / 10 << 4 | b % 10;
      machine_.Run({0x00, 0xd8, 0x27});  // add al, bl; daa
      unsigned sum = (a + b) % 100;
      ASSERT_EQ(gpr(x86::kRax) & 0xff, sum / 10 << 4 | sum % 10);
      ASSERT_EQ(flags() & f::kCf, a + b > 99 ? f::kCf : 0);
    }
  }
}

TEST_F(LegacyTest, DecimalAdjustSubtractsAsBcd) {
  for (unsigned a = 0; a < 100; ++a) {
    for (unsigned b = 0; b < 100; ++b) {
      gpr(x86::kRax) = a / 10 << 4 | a % 10;
      gpr(x86::kRbx) = b / 10 << 4 | b % 10;
      machine_.Run({0x28, 0xd8, 0x2f});  // sub al, bl; das
      unsigned difference = (100 + a - b) % 100;
      ASSERT_EQ(gpr(x86::kRax) & 0xff, difference / 10 << 4 | difference % 10);
      ASSERT_EQ(flags() & f::kCf, a < b ? f::kCf : 0);
    }
  }
}

TEST_F(LegacyTest, AsciiAdjustments) {
  gpr(x86::kRax) = 0x000b;
  machine_.Run({0x37});  // aaa
  EXPECT_EQ(gpr(x86::kRax) & 0xffff, 0x0101u);
  gpr(x86::kRax) = 0x020f;
  machine_.Run({0x3f});  // aas
  EXPECT_EQ(gpr(x86::kRax) & 0xffff, 0x0109u);
  gpr(x86::kRax) = 63;
  machine_.Run({0xd4, 0x0a});  // aam
  EXPECT_EQ(gpr(x86::kRax) & 0xffff, 0x0603u);
  machine_.Run({0xd5, 0x0a});  // aad
  EXPECT_EQ(gpr(x86::kRax) & 0xffff, 63u);
  EXPECT_EQ(machine_.Run({0xd4, 0x00}).reason, ExitReason::kShutdown);  // aam 0: #DE
}

TEST_F(LegacyTest, PushAllAndPopAll) {
  for (unsigned i = 0; i < 8; ++i) machine_.registers.gpr[i] = 0x100 + i;
  gpr(x86::kRsp) = GuestMachine::kStackTop;
  // pusha; xor eax, eax; mov ebx, eax; popa
  ASSERT_EQ(machine_.Run({0x60, 0x31, 0xc0, 0x89, 0xc3, 0x61}).reason, ExitReason::kHalt);
  for (unsigned i = 0; i < 8; ++i) {
    EXPECT_EQ(machine_.registers.gpr[i], i == x86::kRsp ? GuestMachine::kStackTop : 0x100 + i);
  }
  EXPECT_EQ(machine_.Peek<uint32_t>(GuestMachine::kStackTop - 20), GuestMachine::kStackTop);
}

TEST_F(LegacyTest, EnterBuildsNestedFrames) {
  gpr(x86::kRsp) = GuestMachine::kStackTop;
  gpr(x86::kRbp) = GuestMachine::kData + 0x100;
  machine_.Poke<uint32_t>(GuestMachine::kData + 0xfc, 0xabcd);
  ASSERT_EQ(machine_.Run({0xc8, 0x10, 0x00, 0x02}).reason, ExitReason::kHalt);  // enter 16, 2
  EXPECT_EQ(gpr(x86::kRbp), GuestMachine::kStackTop - 4);
  EXPECT_EQ(gpr(x86::kRsp), GuestMachine::kStackTop - 12 - 16);
  EXPECT_EQ(machine_.Peek<uint32_t>(GuestMachine::kStackTop - 8), 0xabcdu);
  EXPECT_EQ(machine_.Peek<uint32_t>(GuestMachine::kStackTop - 12), GuestMachine::kStackTop - 4);
}

TEST_F(LegacyTest, SegmentLimitHolds) {
  machine_.registers.segment[x86::kDs].limit = 0xfff;
  gpr(x86::kRbx) = 0xffd;
  EXPECT_EQ(machine_.Run({0x8b, 0x03}).reason, ExitReason::kShutdown);  // mov eax, [ebx]
  gpr(x86::kRbx) = 0xffc;
  EXPECT_EQ(machine_.Run({0x8b, 0x03}).reason, ExitReason::kHalt);
}

TEST_F(LegacyTest, CallAndReturnWithSixteenBits) {
  machine_.EnterLegacy(false);
  machine_.registers.segment[x86::kCs].base = GuestMachine::kCode;
  machine_.registers.segment[x86::kSs].base = GuestMachine::kData;
  gpr(x86::kRsp) = 0x12340000;  // SP wraps from 0 to 0xfffe, the upper half of ESP stays
  // call +1; hlt; mov bx, sp; ret
  ASSERT_EQ(machine_.Run({0xe8, 0x01, 0x00, 0xf4, 0x89, 0xe3, 0xc3}).reason, ExitReason::kHalt);
  EXPECT_EQ(machine_.registers.rip, 4u);
  EXPECT_EQ(gpr(x86::kRbx) & 0xffff, 0xfffeu);
  EXPECT_EQ(gpr(x86::kRsp), 0x12340000u);
  EXPECT_EQ(machine_.Peek<uint16_t>(GuestMachine::kData + 0xfffe), 3);
}

// As on a real CPU, in a segment of modify_ldt(2).
TEST_F(LegacyTest, SixteenBitCodeGoesOnBehindItsFirst64KiB) {
  machine_.EnterLegacy(false);
  for (uint32_t start : {0x20000u, 0xfffcu}) {
    constexpr uint8_t kThere[] = {0x31, 0xc0, 0x75, 0x00, 0x40, 0x40, 0xf4};  // hlt at the end
    machine_.registers.segment[x86::kCs].base = GuestMachine::kCode;
    for (size_t i = 0; i < sizeof kThere; ++i)
      machine_.Poke(GuestMachine::kCode + start + i, kThere[i]);
    // mov eax, start; jmp eax
    const auto byte = [start](int n) { return static_cast<uint8_t>(start >> 8 * n); };
    ASSERT_EQ(
        machine_.Run({0x66, 0xb8, byte(0), byte(1), byte(2), byte(3), 0x66, 0xff, 0xe0}).reason,
        ExitReason::kHalt);
    EXPECT_EQ(machine_.registers.rip, start + sizeof kThere);
    EXPECT_EQ(gpr(x86::kRax) & 0xffff, 2u);
  }
}

TEST_F(LegacyTest, SixteenBitCodeEndsWithItsSegment) {
  machine_.EnterLegacy(false);
  machine_.registers.segment[x86::kCs].base = GuestMachine::kCode;
  machine_.registers.segment[x86::kCs].limit = 0xffff;
  gpr(x86::kRax) = 0;
  for (uint64_t at : {0xfffe, 0xffff})
    machine_.Poke<uint8_t>(GuestMachine::kCode + at, 0x40);  // inc ax
  // jmp 0xfffe; there is no handler for #GP
  EXPECT_EQ(machine_.Run({0xe9, 0xfb, 0xff}).reason, ExitReason::kShutdown);
  EXPECT_EQ(gpr(x86::kRax), 2u) << "not at 0 again";
}

}  // namespace
}  // namespace trapline::engine

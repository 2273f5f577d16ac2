// SPDX-License-Identifier: Apache-2.0
// Single-stepping and the debug registers (SDM volume 3, chapter 17).
#include <gtest/gtest.h>

#include "tests/engine/machine.h"

namespace trapline::engine {
namespace {

constexpr uint64_t kBs = 1u << 14;

class Debug : public testing::Test {
 protected:
  Debug() { m.Poke<uint64_t>(Machine::kResume, Machine::kReturn); }
  std::vector<uint64_t> Rips() {
    std::vector<uint64_t> out;
    for (const Interrupted& one : m.interrupted()) {
      EXPECT_EQ(one.vector, 1u);
      out.push_back(one.rip - Machine::kCode);
    }
    return out;
  }
  Machine m;
};

TEST_F(Debug, SingleStepStopsBehindEachInstruction) {
  // nop; mov ecx, 2; dec ecx; jnz -4; ud2
  m.Load({0x90, 0xb9, 2, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0x0f, 0x0b});
  x86::Registers r = m.Kernel();
  r.rflags |= x86::rflags::kTf;
  m.Run(r);
  EXPECT_EQ(Rips(), (std::vector<uint64_t>{1, 6, 8, 6, 8, 10}));
  EXPECT_EQ(m.interrupted()[0].dr6, 0xffff0ff0 | kBs);
}

TEST_F(Debug, SingleStepStopsInARepeatedInstruction) {
  m.Load({0xf3, 0xaa, 0x0f, 0x0b});  // rep stosb; ud2
  x86::Registers r = m.Kernel();
  r.rflags |= x86::rflags::kTf;
  r.gpr[x86::kRcx] = 3;
  r.gpr[x86::kRdi] = Machine::kData;
  m.Run(r);
  EXPECT_EQ(Rips(), (std::vector<uint64_t>{0, 0, 2}));
}

TEST_F(Debug, MovSsHoldsTheTrapBack) {
  // mov ss, eax; nop; nop; ud2
  m.Load({0x8e, 0xd0, 0x90, 0x90, 0x0f, 0x0b});
  x86::Registers r = m.Kernel();
  r.rflags |= x86::rflags::kTf;
  r.gpr[x86::kRax] = Machine::kData64;
  m.Run(r);
  EXPECT_EQ(Rips(), (std::vector<uint64_t>{3, 4}));
}

TEST_F(Debug, InstructionBreakpointAndTheResumeFlag) {
  // A loop of three rounds with a breakpoint on its second instruction. RF in the frame is clear,
  // so the handler sets it by hand here: kResume leads to code that does.
  m.Load({0xb9, 3, 0, 0, 0, 0x90, 0xff, 0xc9, 0x75, 0xfb, 0xf4});
  // or dword [rsp+16], 0x10000; iretq
  m.Load({0x81, 0x4c, 0x24, 0x10, 0, 0, 1, 0, 0xff, 0x04, 0x25, 0, 0, 0x10, 0, 0x48, 0xcf},
         Machine::kStubs + 32);
  x86::Registers r = m.Kernel();
  r.dr[0] = Machine::kCode + 6;
  r.dr[7] = 0x402;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.Peek<uint32_t>(Machine::kData), 3u);
  EXPECT_EQ(m.regs.gpr[x86::kRcx], 0u);
  EXPECT_EQ(m.regs.dr[6], 0xffff0ff0 | 1u);
}

TEST_F(Debug, WatchpointStopsBehindTheAccess) {
  // mov [rdi], al; mov [rdi+3], al; mov [rdi+4], al; mov al, [rdi+1]; hlt
  m.Load({0x88, 0x07, 0x88, 0x47, 0x03, 0x88, 0x47, 0x04, 0x8a, 0x47, 0x01, 0xf4});
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdi] = Machine::kData + 8;
  r.dr[1] = Machine::kData + 8;
  r.dr[7] = 0x400 | 1u << 2 | 0xdu << 20;  // four bytes, written
  m.Run(r);
  EXPECT_EQ(Rips(), (std::vector<uint64_t>{2, 5}));
  m.Poke<uint64_t>(Machine::kRecordCount, 0);
  r.dr[7] = 0x400 | 1u << 2 | 0xfu << 20;  // read or written
  m.Run(r);
  EXPECT_EQ(Rips(), (std::vector<uint64_t>{2, 5, 11}));
  EXPECT_EQ(m.interrupted()[0].dr6, 0xffff0ff0 | 2u);
}

TEST_F(Debug, GeneralDetectGuardsTheRegisters) {
  m.Load({0x0f, 0x21, 0xc0, 0xf4});  // mov rax, dr0
  x86::Registers r = m.Kernel();
  r.dr[7] = 0x400 | 1u << 13;
  m.Run(r);
  EXPECT_EQ(Rips(), (std::vector<uint64_t>{0}));
  EXPECT_EQ(m.interrupted()[0].dr6, 0xffff0ff0 | 1u << 13);
}

}  // namespace
}  // namespace trapline::engine

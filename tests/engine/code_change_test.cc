// SPDX-License-Identifier: Apache-2.0
// Self-modifying and cross-modifying code (SDM volume 3, section 8.1.3).
#include <gtest/gtest.h>

#include "tests/engine/machine.h"

namespace trapline::engine {
namespace {

TEST(CodeChange, NextInstructionSeesTheStore) {
  Machine m;
  m.Load(guest_patch_itself, guest_patch_itself_end);
  ASSERT_EQ(m.Run(m.Kernel()).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRbx], 5050u);
}

TEST(CodeChange, ThroughAnotherLinearAddress) {
  Machine m;
  m.Pte(0x300000) = Machine::kData | x86::pte::kPresent | x86::pte::kWritable;
  m.Load({0xb8, 1, 0, 0, 0, 0xc3}, Machine::kData);  // mov eax, 1; ret
  // call rdi; mov ebx, eax; mov byte [rsi+1], 2; call rdi; hlt
  m.Load({0xff, 0xd7, 0x89, 0xc3, 0xc6, 0x46, 0x01, 0x02, 0xff, 0xd7, 0xf4});
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdi] = Machine::kData;
  r.gpr[x86::kRsi] = 0x300000;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRbx], 1u);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 2u);
}

TEST(CodeChange, ByStringAndLockedInstructions) {
  Machine m;
  m.Load({0xb8, 1, 0, 0, 0, 0xc3}, Machine::kData);
  // call rdx; mov ebx, eax; rep stosb; call rdx; mov ebp, eax; lock inc dword [rsi]; call rdx; hlt
  m.Load({0xff, 0xd2, 0x89, 0xc3, 0xf3, 0xaa, 0xff, 0xd2, 0x89, 0xc5, 0xf0, 0xff, 0x06, 0xff, 0xd2,
          0xf4});
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdx] = Machine::kData;
  r.gpr[x86::kRdi] = Machine::kData + 2;
  r.gpr[x86::kRcx] = 3;
  r.gpr[x86::kRsi] = Machine::kData + 1;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRbx], 1u);
  EXPECT_EQ(m.regs.gpr[x86::kRbp], 0x01010101u);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 0x01010102u);
}

TEST(CodeChange, InTheSecondPageOfAnInstruction) {
  Machine m;
  m.Load({0xb8, 1, 0, 0, 0, 0xc3}, Machine::kData + 0xffe);
  // call rdx; mov ebx, eax; mov byte [rdi], 7; call rdx; hlt
  m.Load({0xff, 0xd2, 0x89, 0xc3, 0xc6, 0x07, 0x07, 0xff, 0xd2, 0xf4});
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdx] = Machine::kData + 0xffe;
  r.gpr[x86::kRdi] = Machine::kData + 0x1000;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRbx], 1u);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 0x701u);
}

TEST(CodeChange, ByTheHostWhenItSaysSo) {
  Machine m;
  m.Load({0xe6, 0x01, 0xb8, 1, 0, 0, 0, 0xf4});  // out 1, al; mov eax, 1; hlt
  m.Run(m.Kernel());
  EXPECT_EQ(m.regs.gpr[x86::kRax], 1u);
  m.host().on_port_write = [&](uint16_t, uint32_t) {
    m.Poke<uint8_t>(Machine::kCode + 3, 2);
    m.engine().InvalidateCode(Machine::kCode + 3, 1);
  };
  m.Run(m.Kernel());
  EXPECT_EQ(m.regs.gpr[x86::kRax], 2u);
}

TEST(CodeChange, ByAnotherVcpuWithoutAnyHelp) {
  constexpr uint32_t kRounds = 2000, kWriterAt = 0xa000;
  Machine m(2);
  m.Load(guest_patch_reader, guest_patch_reader_end);
  m.Load({guest_patch_writer, guest_patch_writer_end}, kWriterAt);
  x86::Registers reader = m.Kernel(0), writer = m.Kernel(1);
  reader.gpr[x86::kRdi] = writer.gpr[x86::kRdi] = kRounds;
  writer.rip = kWriterAt;
  Exit other;
  std::thread thread([&] { other = m.Run(writer, 1); });
  Exit exit = m.Run(reader, 0);
  thread.join();
  EXPECT_EQ(exit.reason, ExitReason::kHalt) << "an older version ran after a newer one";
  EXPECT_EQ(other.reason, ExitReason::kHalt);
  EXPECT_EQ(m.Peek<uint32_t>(Machine::kData), kRounds);
}

}  // namespace
}  // namespace trapline::engine

// SPDX-License-Identifier: Apache-2.0
// Switches between real, protected, virtual-8086, compatibility and 64-bit mode.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/machine.h"

namespace trapline::engine {
namespace {

using testing::ElementsAre;

std::vector<uint32_t> Logged(TestHost& host) {
  std::vector<uint32_t> out;
  for (const auto& write : host.port_writes) out.push_back(write.value);
  return out;
}

x86::Registers RealMode() {
  x86::Registers r = x86::ResetState();
  for (x86::Segment& segment : r.segment) segment = {0x800, 0x93, 0xffff, 0x8000};
  r.segment[x86::kCs].attributes = 0x9b;
  r.rip = 0;
  return r;
}

// 32-bit protected mode without paging, at kCode.
x86::Registers Protected(const Machine& m) {
  x86::Registers r = m.Kernel();
  r.cr0 = x86::cr0::kPe | x86::cr0::kNe;
  r.cr4 = 0;
  r.efer = 0;
  r.segment[x86::kCs] = {Machine::kCode32, 0xc09b, 0xffffffff, 0};
  return r;
}

TEST(Modes, ThroughAllOfThemAndBack) {
  Machine m;
  m.Load(guest_modes, guest_modes_end);
  x86::Registers r = RealMode();
  r.gpr[x86::kRsp] = 0x7f00;
  Exit exit = m.Run(r);
  ASSERT_EQ(exit.reason, ExitReason::kHalt) << exit.failure;
  EXPECT_THAT(Logged(m.host()),
              ElementsAre(0x800, 0x80000032, 0x500, 0x456789ab, 0x42, 0x100, 0x16161616));
  EXPECT_EQ(m.regs.cr0 & (x86::cr0::kPe | x86::cr0::kPg), 0u);
  EXPECT_EQ(m.regs.segment[x86::kCs].base, 0x8000u);
}

TEST(Modes, RealModeInterruptAndReturn) {
  Machine m;
  m.Load({0xcd, 0x60, 0xf4});                // int 0x60; hlt
  m.Load({0xb8, 0x34, 0x12, 0xcf}, 0x9000);  // mov ax, 0x1234; iret
  m.Poke<uint32_t>(0x60 * 4, 0x09000000);
  x86::Registers r = RealMode();
  r.gpr[x86::kRsp] = 0x4000;
  r.rflags |= x86::rflags::kIf;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 0x1234u);
  EXPECT_EQ(m.regs.rip, 3u);
  EXPECT_EQ(m.regs.gpr[x86::kRsp], 0x4000u);
  EXPECT_TRUE(m.regs.rflags & x86::rflags::kIf);
  EXPECT_EQ(m.Peek<uint16_t>(0x8000 + 0x4000 - 6), 2u);      // IP
  EXPECT_EQ(m.Peek<uint16_t>(0x8000 + 0x4000 - 4), 0x800u);  // CS
}

TEST(Modes, SameCodeUnderTwoSegments) {
  // Linear 0x8100: push of the return address shows which IP it ran at. The block is known from the
  // first run.
  Machine m;
  m.Load({0xe8, 0, 0, 0xf4}, 0x8100);  // call next; hlt
  x86::Registers r = RealMode();
  r.gpr[x86::kRsp] = 0x4000;
  r.rip = 0x100;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.Peek<uint16_t>(0x8000 + 0x4000 - 2), 0x103u);
  r.segment[x86::kCs].selector = 0x810;
  r.segment[x86::kCs].base = 0x8100;
  r.rip = 0;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.Peek<uint16_t>(0x8000 + 0x4000 - 2), 3u);
  EXPECT_EQ(m.regs.rip, 4u);
}

TEST(Modes, Virtual8086CallsTheKernel) {
  Machine m;
  m.Load(guest_virtual8086, guest_virtual8086_end);
  uint64_t handler = Machine::kCode + 0x80;
  m.Poke<uint64_t>(Machine::kIdt + 8 * 0x21, (handler & 0xffff) | uint64_t{Machine::kCode32} << 16 |
                                                 uint64_t{0xee00} << 32 | (handler >> 16) << 48);
  m.Poke<uint32_t>(Machine::kTss + 4, Machine::kTssStack);
  m.Poke<uint32_t>(Machine::kTss + 8, Machine::kData64);
  Exit exit = m.Run(Protected(m));
  ASSERT_EQ(exit.reason, ExitReason::kHalt) << exit.failure;
  auto log = Logged(m.host());
  ASSERT_EQ(log.size(), 11u);
  EXPECT_EQ(log[0] & 0xffff, 0xbeefu);
  EXPECT_EQ(log[2], 0x800u);
  EXPECT_TRUE(log[3] & x86::rflags::kVm);
  EXPECT_EQ(log[3] & x86::rflags::kIopl, x86::rflags::kIopl);
  EXPECT_THAT(std::span(log).subspan(4, 6),
              ElementsAre(0xfff0, 0x1000, 0x2222, 0x800, 0x3333, 0x4444));
  EXPECT_EQ(log[10], 0u) << "the kernel must not run on real-mode segments";
  EXPECT_FALSE(m.regs.rflags & x86::rflags::kVm);
  EXPECT_EQ(m.regs.cpl(), 0u);
}

TEST(Modes, CallGateSwitchesStacksAndCopiesParameters) {
  Machine m;
  m.Load(guest_call_gate, guest_call_gate_end);
  uint64_t target = Machine::kCode + 0x40;
  m.Poke<uint64_t>(Machine::kGdt + Machine::kFree,
                   (target & 0xffff) | uint64_t{Machine::kCode32} << 16 | uint64_t{0xec02} << 32 |
                       (target >> 16) << 48);
  m.Poke<uint32_t>(Machine::kTss + 4, Machine::kTssStack);
  m.Poke<uint32_t>(Machine::kTss + 8, Machine::kData64);
  x86::Registers r = Protected(m);
  x86::Registers user = m.User();
  r.segment = user.segment;
  r.segment[x86::kCs] = {Machine::kUserCode32, 0xc0fb, 0xffffffff, 0};
  r.rflags |= x86::rflags::kIopl;
  Exit exit = m.Run(r);
  ASSERT_EQ(exit.reason, ExitReason::kTrap) << exit.failure;
  EXPECT_THAT(Logged(m.host()),
              ElementsAre(Machine::kUserCode32, 0x2222, 0x1111, Machine::kUserData,
                          Machine::kCode32, Machine::kStackTop, Machine::kUserCode32));
  EXPECT_EQ(m.regs.cpl(), 3u);
}

TEST(Modes, HardwareTaskSwitchIsRefusedWithAReason) {
  Machine m;
  m.Load({0xea, 0, 0, 0, 0, 0x58, 0x00});  // ljmp 0x58:0, a TSS
  m.Poke<uint64_t>(Machine::kGdt + Machine::kFree, 0x0000890030000fff);
  Exit exit = m.Run(Protected(m));
  EXPECT_EQ(exit.reason, ExitReason::kFailure);
  EXPECT_THAT(exit.failure, testing::HasSubstr("task"));
}

}  // namespace
}  // namespace trapline::engine

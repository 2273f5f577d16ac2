// SPDX-License-Identifier: Apache-2.0
// Delivery of interrupts and exceptions (SDM volume 3, chapter 6).
#include <gtest/gtest.h>

#include "tests/engine/machine.h"

namespace trapline::engine {
namespace {

using namespace x86::rflags;

constexpr uint64_t kInterruptGate = 0x8e00, kTrapGate = 0x8f00, kDpl3 = 0x6000;

TEST(Interrupts, ExceptionInTheKernelKeepsItsStackAligned) {
  Machine m;
  m.Load({0x31, 0xc9, 0xf7, 0xf1});  // xor ecx, ecx; div ecx
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRsp] = Machine::kStackTop - 4;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  auto log = m.interrupted();
  ASSERT_EQ(log.size(), 1u);
  EXPECT_EQ(log[0].vector, 0u);
  EXPECT_EQ(log[0].rip, Machine::kCode + 2);
  EXPECT_EQ(log[0].rsp, Machine::kStackTop - 4);
  EXPECT_EQ(log[0].frame, Machine::kStackTop - 16 - 40);
  EXPECT_EQ(log[0].ss, Machine::kData64);
  EXPECT_TRUE(log[0].rflags & kRf) << "a fault resumes its instruction";
}

TEST(Interrupts, FromUserModeOnTheStackOfTheTss) {
  Machine m;
  m.OpenToUser();
  m.SetGate(0x80, kInterruptGate | kDpl3);
  m.Poke<uint64_t>(Machine::kResume, Machine::kReturn);
  m.Load({0xcd, 0x80, 0x0f, 0x0b});  // int 0x80; ud2
  x86::Registers r = m.User();
  r.rflags |= kIf;
  EXPECT_EQ(m.Run(r).reason, ExitReason::kTrap);
  auto log = m.interrupted();
  ASSERT_EQ(log.size(), 1u);
  EXPECT_EQ(log[0].vector, 0x80u);
  EXPECT_EQ(log[0].rip, Machine::kCode + 2);
  EXPECT_EQ(log[0].cs, Machine::kUserCode64);
  EXPECT_EQ(log[0].ss, Machine::kUserData);
  EXPECT_EQ(log[0].frame, Machine::kTssStack - 40);
  EXPECT_EQ(m.regs.cpl(), 3u);
  EXPECT_TRUE(m.regs.rflags & kIf);
}

TEST(Interrupts, InterruptStackTable) {
  Machine m;
  m.SetGate(3, kInterruptGate | 1);
  ASSERT_EQ(m.RunCode({0xcc}).reason, ExitReason::kHalt);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].frame, Machine::kIstStack - 40);
  EXPECT_EQ(m.interrupted()[0].rip, Machine::kCode + 1);
}

TEST(Interrupts, GatePrivilegeAndPresence) {
  Machine m;
  m.OpenToUser();
  m.Load({0xcd, 0x80});
  m.Run(m.User());  // the gate is for the kernel only
  m.SetGate(0x80, 0x0e00 | kDpl3);
  m.Run(m.User());
  auto log = m.interrupted();
  ASSERT_EQ(log.size(), 2u);
  EXPECT_EQ(log[0].vector, 13u);
  EXPECT_EQ(log[0].error_code, 0x80u * 8 + 2);
  EXPECT_EQ(log[0].rip, Machine::kCode);
  EXPECT_EQ(log[1].vector, 11u);
  EXPECT_EQ(log[1].error_code, 0x80u * 8 + 2);
}

TEST(Interrupts, TrapGateLeavesInterruptsOn) {
  Machine m;
  m.SetGate(0x81, kTrapGate);
  m.Load({0xcd, 0x81});
  x86::Registers r = m.Kernel();
  r.rflags |= kIf;
  m.Run(r);
  EXPECT_TRUE(m.regs.rflags & kIf);
  m.Load({0xcd, 0x82});
  m.Run(r);
  EXPECT_FALSE(m.regs.rflags & kIf);
}

TEST(Interrupts, MaskableOnesWaitForTheFlagAndPassTheShadow) {
  Machine m;
  m.Poke<uint64_t>(Machine::kResume, Machine::kReturn);
  m.host().interrupts = {0x40};
  // nop; sti; nop; nop; hlt: one instruction behind STI runs first.
  m.Load({0x90, 0xfb, 0x90, 0x90, 0xf4});
  ASSERT_EQ(m.Run(m.Kernel()).reason, ExitReason::kHalt);
  auto log = m.interrupted();
  ASSERT_EQ(log.size(), 1u);
  EXPECT_EQ(log[0].vector, 0x40u);
  EXPECT_EQ(log[0].rip, Machine::kCode + 3);
}

TEST(Interrupts, HaltGoesOnAfterAnInterrupt) {
  Machine m;
  m.Poke<uint64_t>(Machine::kResume, Machine::kReturn);
  m.Load({0xfb, 0xf4, 0xb8, 5, 0, 0, 0, 0xfa, 0xf4});  // sti; hlt; mov eax, 5; cli; hlt
  ASSERT_EQ(m.Run(m.Kernel()).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.rip, Machine::kCode + 2);
  m.host().interrupts = {0x41};
  m.vcpu().RequestAttention();
  ASSERT_EQ(m.Continue().reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 5u);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].rip, Machine::kCode + 2);
}

TEST(Interrupts, OneNmiIsLatchedUntilIret) {
  Machine m;
  m.Poke<uint64_t>(Machine::kResume, Machine::kReturn);
  // Three at once: the first is taken, the others find it in service and count for one.
  m.Load({0x90, 0xe6, 0x01, 0x90, 0xf4});  // nop; out 1, al; nop; hlt
  m.host().on_port_write = [&](uint16_t, uint32_t) {
    m.host().nmis = 3;
    m.vcpu().RequestAttention();
  };
  ASSERT_EQ(m.Run(m.Kernel()).reason, ExitReason::kHalt);
  ASSERT_EQ(m.interrupted().size(), 2u);
  for (const Interrupted& record : m.interrupted()) {
    EXPECT_EQ(record.vector, 2u);
    EXPECT_EQ(record.rip, Machine::kCode + 3);
  }
}

TEST(Interrupts, PageFaultWhileDeliveringAPageFaultIsADoubleFault) {
  Machine m;
  m.OpenToUser();
  m.SetGate(8, kInterruptGate | 1);
  m.Pte(Machine::kTssStack - 8) = 0;
  m.Load({0xa1, 0, 0, 0, 0x70, 0, 0, 0, 0});  // mov eax, [0x70000000]
  ASSERT_EQ(m.Run(m.User()).reason, ExitReason::kHalt);
  auto log = m.interrupted();
  ASSERT_EQ(log.size(), 1u);
  EXPECT_EQ(log[0].vector, 8u);
  EXPECT_EQ(log[0].error_code, 0u);
  EXPECT_EQ(log[0].cr2, Machine::kTssStack - 8);
}

TEST(Interrupts, PageFaultWhileDeliveringABenignOneIsAPageFault) {
  Machine m;
  m.OpenToUser();
  m.SetGate(0x80, kInterruptGate | kDpl3);
  m.SetGate(14, kInterruptGate | 1);
  m.Pte(Machine::kTssStack - 8) = 0;
  m.Load({0xcd, 0x80});
  ASSERT_EQ(m.Run(m.User()).reason, ExitReason::kHalt);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].vector, 14u);
  EXPECT_EQ(m.interrupted()[0].rip, Machine::kCode);
}

TEST(Interrupts, TripleFaultShutsDown) {
  Machine m;
  m.Load({0xcc});
  x86::Registers r = m.Kernel();
  r.idtr.limit = 0;
  EXPECT_EQ(m.Run(r).reason, ExitReason::kShutdown);
}

TEST(Interrupts, NoncanonicalHandlerIsGeneralProtection) {
  Machine m;
  m.Poke<uint64_t>(Machine::kIdt + 16 * 0x50 + 8, 0x00008000);
  ASSERT_EQ(m.RunCode({0xcd, 0x50}).reason, ExitReason::kHalt);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].vector, 13u);
  EXPECT_EQ(m.interrupted()[0].rip, Machine::kCode);
}

TEST(Interrupts, InvalidOpcodeLeavesBeforeItIsDelivered) {
  Machine m;
  m.Load({0x0f, 0x01, 0xc1}, Machine::kData - 2);  // vmcall over the end of a page
  m.Pte(Machine::kData) = (Machine::kData + 0x5000) | x86::pte::kPresent;
  m.Load({0xc1}, Machine::kData + 0x5000);
  x86::Registers r = m.Kernel();
  r.rip = Machine::kData - 2;
  Exit exit = m.Run(r);
  ASSERT_EQ(exit.reason, ExitReason::kTrap);
  EXPECT_EQ(exit.trap.gva, Machine::kData - 2);
  EXPECT_EQ(exit.trap.cpl, 0);
  EXPECT_TRUE(exit.trap.long_mode);
  ASSERT_EQ(exit.trap.length, 3);
  EXPECT_EQ(exit.trap.bytes[2], std::byte{0xc1});
  EXPECT_EQ(exit.trap.gpa[1], Machine::kData - 1);
  EXPECT_EQ(exit.trap.gpa[2], Machine::kData + 0x5000);
  EXPECT_TRUE(m.interrupted().empty());
  m.vcpu().InjectException(x86::Vector::kInvalidOpcode, 0);
  ASSERT_EQ(m.Continue().reason, ExitReason::kHalt);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].vector, 6u);
  EXPECT_EQ(m.interrupted()[0].rip, Machine::kData - 2);
}

TEST(Interrupts, InstructionsAreCountedExactly) {
  Machine m;
  uint64_t before = m.vcpu().instructions_retired();
  // mov ecx, 10; dec ecx; jnz -4; mov eax, [0x70000000] (faults); then four instructions of
  // RESUME's target
  m.Load({0xb9, 10, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0x8b, 0x04, 0x25, 0, 0, 0, 0x70});
  m.Load({0x90, 0x90, 0x90, 0xf4}, Machine::kData);
  m.Poke<uint64_t>(Machine::kResume, Machine::kData);
  ASSERT_EQ(m.Run(m.Kernel()).reason, ExitReason::kHalt);
  constexpr uint64_t kStub = 2, kHandler = 36;  // push vector, jmp; guest_handler up to its IRETQ
  EXPECT_EQ(m.vcpu().instructions_retired() - before, 1 + 20 + kStub + kHandler + 4);
}

}  // namespace
}  // namespace trapline::engine

// SPDX-License-Identifier: Apache-2.0
// Exceptions for a host that wants to see them (VcpuHost::WantsExceptions), and what a shutdown
// says.
#include <gtest/gtest.h>

#include "tests/engine/machine.h"

namespace trapline::engine {
namespace {

class Exceptions : public ::testing::Test {
 protected:
  Exceptions() { m_.host().wants_exceptions = true; }
  // Runs code in the kernel to its first exit; nothing may have been delivered.
  Exit Run(std::initializer_list<uint8_t> code, uint64_t rflags = 0) {
    m_.Load(code);
    x86::Registers r = m_.Kernel();
    r.gpr[x86::kRcx] = r.gpr[x86::kRdx] = 0;
    r.rflags |= rflags;
    Exit exit = m_.Run(r);
    EXPECT_TRUE(m_.interrupted().empty());
    return exit;
  }
  Machine m_;
};

TEST_F(Exceptions, AFaultStandsAtItsInstruction) {
  Exit exit = Run({0x90, 0xf7, 0xf1});  // nop; div ecx
  EXPECT_EQ(exit.reason, ExitReason::kException);
  EXPECT_EQ(exit.exception.vector, x86::Vector::kDivideError);
  EXPECT_EQ(exit.exception.error_code, 0u);
  EXPECT_EQ(exit.exception.address, 0u);
  EXPECT_EQ(m_.regs.rip, Machine::kCode + 1);
}

TEST_F(Exceptions, APageFaultSaysWhere) {
  Exit exit = Run({0x89, 0x81, 0x00, 0x00, 0x00, 0x01});  // mov [rcx + 16 MiB], eax
  EXPECT_EQ(exit.reason, ExitReason::kException);
  EXPECT_EQ(exit.exception.vector, x86::Vector::kPageFault);
  EXPECT_EQ(exit.exception.error_code, x86::page_fault::kWrite);
  EXPECT_EQ(exit.exception.address, uint64_t{16} << 20);
  EXPECT_EQ(m_.regs.cr2, uint64_t{16} << 20);
  EXPECT_EQ(m_.regs.rip, Machine::kCode);
}

TEST_F(Exceptions, ANonCanonicalAddressInTheStackIsAStackFault) {
  Exit exit = Run({0x48, 0xd1, 0xe4,    // shl rsp, 1, until it is not canonical
                   0x71, 0xfb, 0x50});  // jno back; push rax
  EXPECT_EQ(exit.reason, ExitReason::kException);
  EXPECT_EQ(exit.exception.vector, x86::Vector::kStackFault);
}

TEST_F(Exceptions, BreakpointsStandBehind) {
  Exit exit = Run({0xcc, 0x90});
  EXPECT_EQ(exit.reason, ExitReason::kException);
  EXPECT_EQ(exit.exception.vector, x86::Vector::kBreakpoint);
  EXPECT_EQ(m_.regs.rip, Machine::kCode + 1);
}

TEST_F(Exceptions, Int1StandsBehind) {
  Exit exit = Run({0xf1, 0x90});
  EXPECT_EQ(exit.reason, ExitReason::kException);
  EXPECT_EQ(exit.exception.vector, x86::Vector::kDebug);
  EXPECT_EQ(m_.regs.rip, Machine::kCode + 1);
}

TEST_F(Exceptions, SoDoSingleSteps) {
  Exit exit = Run({0x90, 0x90}, x86::rflags::kTf);
  EXPECT_EQ(exit.reason, ExitReason::kException);
  EXPECT_EQ(exit.exception.vector, x86::Vector::kDebug);
  EXPECT_EQ(m_.regs.rip, Machine::kCode + 1);
}

TEST_F(Exceptions, TheRunGoesOnWhereRipWasPut) {
  EXPECT_EQ(Run({0xf7, 0xf1, 0xf4}).reason, ExitReason::kException);  // div ecx; hlt
  m_.vcpu().SetRip(Machine::kCode + 2);
  EXPECT_EQ(m_.Continue().reason, ExitReason::kHalt);
}

TEST_F(Exceptions, AnInvalidOpcodeStaysATrap) {
  EXPECT_EQ(Run({0x0f, 0x0b}).reason, ExitReason::kTrap);
  m_.vcpu().InjectException(x86::Vector::kInvalidOpcode, 0);
  Exit exit = m_.Continue();
  EXPECT_EQ(exit.reason, ExitReason::kException);
  EXPECT_EQ(exit.exception.vector, x86::Vector::kInvalidOpcode);
}

TEST_F(Exceptions, SoftwareInterruptsGoThroughTheTable) {
  m_.Load({0xcd, 0x80});
  EXPECT_EQ(m_.Run(m_.Kernel()).reason, ExitReason::kHalt);
  ASSERT_EQ(m_.interrupted().size(), 1u);
  EXPECT_EQ(m_.interrupted()[0].vector, 0x80u);
}

TEST_F(Exceptions, AShutdownTellsTheFirstFault) {
  m_.host().wants_exceptions = false;
  m_.Load({0x89, 0x81, 0x00, 0x00, 0x00, 0x01});
  x86::Registers r = m_.Kernel();
  r.gpr[x86::kRcx] = 0;
  r.idtr.limit = 0;
  Exit exit = m_.Run(r);
  EXPECT_EQ(exit.reason, ExitReason::kShutdown);
  EXPECT_EQ(exit.exception.vector, x86::Vector::kPageFault);
  EXPECT_EQ(exit.exception.address, uint64_t{16} << 20);
  EXPECT_EQ(m_.regs.rip, Machine::kCode);
}

}  // namespace
}  // namespace trapline::engine

// SPDX-License-Identifier: Apache-2.0
// What user mode may and may not do, system calls, MSRs, CPUID, ports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/machine.h"

namespace trapline::engine {
namespace {

struct Privileged {
  const char* name;
  std::vector<uint8_t> code;
};
std::ostream& operator<<(std::ostream& out, const Privileged& p) { return out << p.name; }

class UserMode : public testing::TestWithParam<Privileged> {};

TEST_P(UserMode, GetsGeneralProtection) {
  Machine m;
  m.OpenToUser();
  m.Load(GetParam().code);
  x86::Registers r = m.User();
  r.cr4 |= x86::cr4::kUmip | x86::cr4::kTsd;
  r.gpr[x86::kRdi] = Machine::kData;
  Exit exit = m.Run(r);
  ASSERT_EQ(exit.reason, ExitReason::kHalt) << exit.failure;
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].vector, 13u);
  EXPECT_EQ(m.interrupted()[0].error_code, 0u);
  EXPECT_EQ(m.interrupted()[0].rip, Machine::kCode);
}

INSTANTIATE_TEST_SUITE_P(
    Privilege, UserMode,
    testing::Values(Privileged{"Hlt", {0xf4}}, Privileged{"Cli", {0xfa}}, Privileged{"Sti", {0xfb}},
                    Privileged{"ReadCr0", {0x0f, 0x20, 0xc0}},
                    Privileged{"WriteCr3", {0x0f, 0x22, 0xd8}},
                    Privileged{"ReadDr7", {0x0f, 0x21, 0xf8}}, Privileged{"Rdmsr", {0x0f, 0x32}},
                    Privileged{"Wrmsr", {0x0f, 0x30}}, Privileged{"Lgdt", {0x0f, 0x01, 0x17}},
                    Privileged{"Invlpg", {0x0f, 0x01, 0x3f}}, Privileged{"Wbinvd", {0x0f, 0x09}},
                    Privileged{"Clts", {0x0f, 0x06}}, Privileged{"Swapgs", {0x0f, 0x01, 0xf8}},
                    Privileged{"Sysret", {0x48, 0x0f, 0x07}}, Privileged{"Ltr", {0x0f, 0x00, 0xd8}},
                    Privileged{"SgdtUnderUmip", {0x0f, 0x01, 0x07}},
                    Privileged{"SmswUnderUmip", {0x0f, 0x01, 0xe0}},
                    Privileged{"StrUnderUmip", {0x0f, 0x00, 0xc8}},
                    Privileged{"RdtscUnderTsd", {0x0f, 0x31}}, Privileged{"Out", {0xe6, 0x80}},
                    Privileged{"In", {0xec}}, Privileged{"Rdpmc", {0x0f, 0x33}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Privilege, IoPermissionBitmapOpensPorts) {
  Machine m;
  m.OpenToUser();
  *m.At<uint8_t>(Machine::kTss + Machine::kIoBitmap + 0x80 / 8) = 0xfc;  // ports 0x80 and 0x81
  m.Load({0xe6, 0x80, 0x66, 0xe7, 0x80, 0xe7, 0x80});                    // out 0x80, al; ax; eax
  m.Run(m.User());
  ASSERT_EQ(m.host().port_writes.size(), 2u);
  EXPECT_EQ(m.host().port_writes[1].size, 2u);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].vector, 13u);
  EXPECT_EQ(m.interrupted()[0].rip, Machine::kCode + 5);
}

TEST(Privilege, VmxAndSvmInstructionsAreInvalid) {
  Machine m;
  for (auto code : {std::vector<uint8_t>{0x0f, 0x01, 0xc1},
                    {0x0f, 0x01, 0xd9},
                    {0x0f, 0x01, 0xc2},
                    {0x0f, 0x01, 0xd8},
                    {0x0f, 0x01, 0xc4},
                    {0xf3, 0x0f, 0xc7, 0x37},
                    {0x0f, 0x78, 0xc0}}) {
    m.Load(code);
    EXPECT_EQ(m.Run(m.Kernel()).reason, ExitReason::kTrap) << testing::PrintToString(code);
    EXPECT_EQ(m.regs.rip, Machine::kCode);
  }
}

TEST(Privilege, SyscallAndBack) {
  Machine m;
  m.OpenToUser();
  m.Load(guest_syscall, guest_syscall_end);
  m.Poke<uint64_t>(Machine::kData, 0x5eed);
  x86::Registers r = m.User();
  r.star = uint64_t{0x1b} << 48 | uint64_t{Machine::kCode64} << 32;
  r.lstar = Machine::kCode + 0x80;
  r.fmask = x86::rflags::kIf | x86::rflags::kDf;
  r.kernel_gs_base = Machine::kData;
  r.segment[x86::kGs].base = 0x1234;
  r.rflags |= x86::rflags::kIf | x86::rflags::kDf;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kTrap);
  EXPECT_EQ(m.regs.rip, Machine::kCode + 7);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 97u);
  EXPECT_EQ(m.regs.gpr[x86::kRbx], 0x5eedu);
  EXPECT_FALSE(m.regs.gpr[x86::kRsi] & (x86::rflags::kIf | x86::rflags::kDf));
  EXPECT_EQ(m.regs.gpr[x86::kRdi], Machine::kCode64);
  EXPECT_EQ(m.regs.gpr[x86::kRbp], Machine::kCode64 + 8u);
  EXPECT_EQ(m.regs.gpr[x86::kRcx], Machine::kCode + 7);
  EXPECT_EQ(m.regs.cpl(), 3u);
  EXPECT_TRUE(m.regs.rflags & x86::rflags::kIf);
  EXPECT_EQ(m.regs.segment[x86::kCs].selector, Machine::kUserCode64);
  EXPECT_EQ(m.regs.segment[x86::kSs].selector, Machine::kUserData);
  EXPECT_EQ(m.regs.segment[x86::kGs].base, 0x1234u);
}

TEST(Privilege, SysenterAndSysexit) {
  Machine m;
  m.OpenToUser();
  m.Load({0x0f, 0x34});                                    // sysenter
  m.Load({0x89, 0xe3, 0x48, 0x0f, 0x35}, Machine::kData);  // mov ebx, esp; sysexitq
  m.Load({0x0f, 0x0b}, Machine::kCode + 0x100);
  x86::Registers r = m.User();
  r.sysenter_cs = Machine::kCode64;
  r.sysenter_esp = 0x123450;
  r.sysenter_eip = Machine::kData;
  r.gpr[x86::kRcx] = 0x7000;
  r.gpr[x86::kRdx] = Machine::kCode + 0x100;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kTrap);
  EXPECT_EQ(m.regs.gpr[x86::kRbx], 0x123450u);
  EXPECT_EQ(m.regs.gpr[x86::kRsp], 0x7000u);
  EXPECT_EQ(m.regs.rip, Machine::kCode + 0x100);
  EXPECT_EQ(m.regs.segment[x86::kCs].selector, Machine::kUserCode64);
}

TEST(Privilege, MsrsOfTheHostAndUnknownOnes) {
  Machine m;
  m.host().msrs[0x1b] = 0xfee00900;
  m.Load({0x0f, 0x32, 0x0f, 0x30, 0xf4});  // rdmsr; wrmsr; hlt
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRcx] = 0x1b;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 0xfee00900u);
  EXPECT_TRUE(m.interrupted().empty());
  r.gpr[x86::kRcx] = 0x12345;
  m.Run(r);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].vector, 13u);
  r.gpr[x86::kRcx] = 0x10;  // the TSC
  m.Run(r);
  EXPECT_GT(m.regs.gpr[x86::kRax], 0u);
}

TEST(Privilege, CpuidSaysWhatTheHostSays) {
  Machine m;
  m.Load({0x0f, 0xa2, 0xf4});
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRax] = 0x40000000;
  m.Run(r);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 0x40000001u);
  EXPECT_EQ(m.regs.gpr[x86::kRdx], 3u);
  r.gpr[x86::kRax] = 1;
  m.Run(r);
  constexpr uint64_t kVmx = 1u << 5, kHypervisor = 1u << 31;
  EXPECT_FALSE(m.regs.gpr[x86::kRcx] & kVmx);
  EXPECT_TRUE(m.regs.gpr[x86::kRcx] & kHypervisor);
}

TEST(Privilege, SegmentLimitsInLegacyMode) {
  Machine m;
  m.Load({0x8b, 0x07, 0xf4});  // mov eax, [edi]
  x86::Registers r = m.Kernel();
  r.cr0 = x86::cr0::kPe | x86::cr0::kNe;
  r.cr4 = 0;
  r.efer = 0;
  r.segment[x86::kCs] = {Machine::kCode32, 0xc09b, 0xffffffff, 0};
  r.segment[x86::kDs] = {Machine::kData64, 0x4093, 0xfff, Machine::kData};
  r.idtr.limit = 0;
  m.Poke<uint32_t>(Machine::kData + 0xffc, 0xabcd);
  r.gpr[x86::kRdi] = 0xffc;
  EXPECT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 0xabcdu);
  r.gpr[x86::kRdi] = 0xffd;
  EXPECT_EQ(m.Run(r).reason, ExitReason::kShutdown);  // #GP with no IDT
}

}  // namespace
}  // namespace trapline::engine

// SPDX-License-Identifier: Apache-2.0
// Emulated instructions against their pages of the SDM (volume 2).
#include "core/engine/direct/privileged.h"

#include <cpuid.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "core/x86/flags.h"
#include "tests/engine/machine.h"

namespace trapline::engine::direct {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr uint64_t kRip = 0x201000, kHigh = 0x1122334400000000;
constexpr uint32_t kEfer = 0xc0000080, kFsBase = 0xc0000100, kGsBase = 0xc0000101,
                   kKernelGsBase = 0xc0000102, kTscAux = 0xc0000103;

class Privileged : public ::testing::Test {
 protected:
  Privileged() {
    for (uint64_t i = 0; i < 16; ++i) frame_.gpr[i] = kHigh | i << 24 | 0x00a5a5a5;
    frame_.rip = kRip;
    frame_.rflags = 0x246;
    registers_.cr0 = 0x80010033;
    registers_.cr2 = 0x1234;
    registers_.cr3 = 0x9000;
    registers_.cr4 = 0x6a0;
    registers_.efer = 0xd01;
    registers_.rflags = 2;
  }
  Emulation Run(std::vector<uint8_t> code) {
    return EmulatePrivileged(std::as_bytes(std::span(code)), cpu_);
  }
  // Executed, and RIP stands behind all of it.
  void Does(const std::vector<uint8_t>& code) {
    frame_.rip = kRip;
    EXPECT_EQ(Run(code), Emulation::kDone);
    EXPECT_EQ(frame_.rip, kRip + code.size());
  }
  // The guest's own fault: nothing is changed, and the host was not asked for anything that would.
  void Refuses(const std::vector<uint8_t>& code) {
    Frame frame = frame_;
    x86::Registers registers = registers_;
    EXPECT_EQ(Run(code), Emulation::kNotEmulated) << ::testing::PrintToString(code);
    EXPECT_EQ(std::memcmp(&frame, &frame_, sizeof frame), 0) << ::testing::PrintToString(code);
    EXPECT_TRUE(registers == registers_);
    EXPECT_FALSE(cpu_.bases_changed);
    EXPECT_THAT(host_.port_reads, IsEmpty());
    EXPECT_THAT(host_.port_writes, IsEmpty());
  }
  uint64_t& rax() { return frame_.gpr[x86::kRax]; }
  uint64_t& rbx() { return frame_.gpr[x86::kRbx]; }
  uint64_t& rcx() { return frame_.gpr[x86::kRcx]; }
  uint64_t& rdx() { return frame_.gpr[x86::kRdx]; }
  uint64_t Msr(uint32_t index) {
    rcx() = kHigh | index;
    Does({0x0f, 0x32});
    EXPECT_EQ((rax() | rdx()) >> 32, 0u);
    return rdx() << 32 | rax();
  }
  // WRMSR, with what it ignores set.
  void SetUpWrite(uint32_t index, uint64_t value) {
    rcx() = kHigh | index;
    rax() = kHigh | (value & 0xffffffff);
    rdx() = kHigh | value >> 32;
  }

  TestHost host_;
  Frame frame_{};
  x86::Registers registers_;
  VirtualCpu cpu_{host_, 3, 4, frame_, registers_};
};

TEST_F(Privileged, CliAndStiAreAboutTheVirtualFlag) {
  Does({0xfb});
  EXPECT_EQ(registers_.rflags, 2 | x86::rflags::kIf);
  Does({0xfa});
  EXPECT_EQ(registers_.rflags, 2u);
  EXPECT_EQ(frame_.rflags, 0x246u);
}

TEST_F(Privileged, HltHaltsBehindItself) {
  EXPECT_EQ(Run({0xf4}), Emulation::kHalt);
  EXPECT_EQ(frame_.rip, kRip + 1);
}

TEST_F(Privileged, InKeepsWhatItDoesNotWrite) {
  struct Case {
    std::vector<uint8_t> code;
    uint16_t port;
    unsigned size;
    uint64_t rax;
  };
  const uint64_t before = rax();
  host_.port_value = 0x87654321;
  rdx() = kHigh | 0xffff03f8;
  for (const Case& c : {Case{{0xec}, 0x3f8, 1, (before & ~uint64_t{0xff}) | 0x21},
                        Case{{0x66, 0xed}, 0x3f8, 2, (before & ~uint64_t{0xffff}) | 0x4321},
                        Case{{0xed}, 0x3f8, 4, 0x87654321},
                        Case{{0x48, 0xed}, 0x3f8, 4, 0x87654321},  // REX.W changes nothing
                        Case{{0xe4, 0xf4}, 0xf4, 1, (before & ~uint64_t{0xff}) | 0x21},
                        Case{{0x66, 0xe5, 0x70}, 0x70, 2, (before & ~uint64_t{0xffff}) | 0x4321},
                        Case{{0xe5, 0x70}, 0x70, 4, 0x87654321}}) {
    rax() = before;
    host_.port_reads.clear();
    Does(c.code);
    EXPECT_EQ(rax(), c.rax) << ::testing::PrintToString(c.code);
    EXPECT_THAT(host_.port_reads, ElementsAre(Pair(c.port, c.size)));
  }
}

TEST_F(Privileged, OutWritesItsOperandAlone) {
  struct Case {
    std::vector<uint8_t> code;
    TestHost::PortWrite write;
  };
  rax() = kHigh | 0x87654321;
  rdx() = kHigh | 0xffff03f8;
  for (const Case& c :
       {Case{{0xee}, {0x3f8, 1, 0x21}}, Case{{0x66, 0xef}, {0x3f8, 2, 0x4321}},
        Case{{0xef}, {0x3f8, 4, 0x87654321}}, Case{{0xe6, 0xf4}, {0xf4, 1, 0x21}},
        Case{{0x66, 0xe7, 0x70}, {0x70, 2, 0x4321}}, Case{{0xe7, 0x70}, {0x70, 4, 0x87654321}}}) {
    host_.port_writes.clear();
    Does(c.code);
    EXPECT_THAT(host_.port_writes, ElementsAre(c.write)) << ::testing::PrintToString(c.code);
  }
  EXPECT_EQ(rax(), kHigh | 0x87654321);
}

TEST_F(Privileged, ControlRegistersAreReadIntoAnyRegister) {
  host_.task_priority = 9;
  const std::pair<uint8_t, uint64_t> values[] = {
      {0, registers_.cr0}, {2, registers_.cr2}, {3, registers_.cr3}, {4, registers_.cr4}, {8, 9}};
  for (auto [number, value] : values) {
    for (uint8_t to = 0; to < 16; ++to) {
      auto rex = static_cast<uint8_t>(0x40 | (number >= 8 ? 4 : 0) | (to >= 8 ? 1 : 0));
      auto modrm = static_cast<uint8_t>(0xc0 | (number & 7) << 3 | (to & 7));
      Does({rex, 0x0f, 0x20, modrm});
      EXPECT_EQ(frame_.gpr[to], value) << int{number} << " " << int{to};
    }
  }
}

TEST_F(Privileged, AControlRegisterTakesWhatItHas) {
  const std::pair<uint8_t, uint64_t> values[] = {
      {0, registers_.cr0}, {3, registers_.cr3}, {4, registers_.cr4}};
  for (auto [number, value] : values) {
    auto modrm = static_cast<uint8_t>(0xc0 | number << 3);
    rax() = value;
    Does({0x0f, 0x22, modrm});
    rax() = value ^ 8;
    Refuses({0x0f, 0x22, modrm});
  }
}

TEST_F(Privileged, Cr2AndCr8AreWritable) {
  rax() = 0x8877665544332211;
  Does({0x0f, 0x22, 0xd0});
  EXPECT_EQ(registers_.cr2, 0x8877665544332211u);
  rax() = 15;
  Does({0x44, 0x0f, 0x22, 0xc0});
  EXPECT_EQ(host_.task_priority, 15);
  rax() = 16;
  Refuses({0x44, 0x0f, 0x22, 0xc0});
  EXPECT_EQ(host_.task_priority, 15);
}

TEST_F(Privileged, RdmsrReadsOwnOnesAndTheHosts) {
  registers_.segment[x86::kFs].base = 0x7000000000;
  registers_.segment[x86::kGs].base = 0xffff800000000000;
  registers_.kernel_gs_base = 0x123456789;
  registers_.tsc_aux = 5;
  host_.msrs[0x4b564d00] = 0xfedcba9876543210;
  host_.tsc = 1000;
  host_.tsc_offset = 0x500000000;
  EXPECT_EQ(Msr(kEfer), 0xd01u);
  EXPECT_EQ(Msr(kFsBase), 0x7000000000u);
  EXPECT_EQ(Msr(kGsBase), 0xffff800000000000u);
  EXPECT_EQ(Msr(kKernelGsBase), 0x123456789u);
  EXPECT_EQ(Msr(kTscAux), 5u);
  EXPECT_EQ(Msr(0x4b564d00), 0xfedcba9876543210u);
  EXPECT_EQ(Msr(0x10), 0x500000000u + 1100);
  rcx() = 0x9999;
  Refuses({0x0f, 0x32});
}

TEST_F(Privileged, WrmsrTakesCanonicalBases) {
  for (uint32_t index : {kFsBase, kGsBase, kKernelGsBase}) {
    cpu_.bases_changed = false;
    SetUpWrite(index, 0xffff800012345678);
    Does({0x0f, 0x30});
    EXPECT_TRUE(cpu_.bases_changed);
    EXPECT_EQ(Msr(index), 0xffff800012345678u);
    cpu_.bases_changed = false;
    SetUpWrite(index, 0x0000800012345678);
    Refuses({0x0f, 0x30});
  }
}

TEST_F(Privileged, WrmsrKnowsReservedBits) {
  SetUpWrite(kTscAux, 0xffffffff);
  Does({0x0f, 0x30});
  EXPECT_EQ(registers_.tsc_aux, 0xffffffffu);
  cpu_.bases_changed = false;
  SetUpWrite(kTscAux, 0x100000000);
  Refuses({0x0f, 0x30});
  SetUpWrite(kEfer, registers_.efer);
  Does({0x0f, 0x30});
  SetUpWrite(kEfer, registers_.efer ^ 1);
  Refuses({0x0f, 0x30});
  host_.msrs[0x1b] = 0;
  SetUpWrite(0x1b, 0xfee00900);
  Does({0x0f, 0x30});
  EXPECT_EQ(host_.msrs[0x1b], 0xfee00900u);
  SetUpWrite(0x9999, 1);
  Refuses({0x0f, 0x30});
}

TEST_F(Privileged, CpuidIsTheHostsButForWhatIsTheVms) {
  uint32_t eax, ebx, ecx, edx;
  __cpuid_count(0, 0, eax, ebx, ecx, edx);
  rax() = kHigh, rcx() = kHigh;
  Does({0x0f, 0xa2});
  EXPECT_EQ(rax(), eax);
  EXPECT_EQ(rbx(), ebx);
  EXPECT_EQ(rcx(), ecx);
  EXPECT_EQ(rdx(), edx);

  rax() = kHigh | 1;
  Does({0x0f, 0xa2});
  EXPECT_EQ(rbx() >> 24, 3u);         // this vCPU
  EXPECT_EQ(rbx() >> 16 & 0xff, 4u);  // of so many
  EXPECT_NE(rcx() & 1u << 31, 0u);    // a hypervisor
  EXPECT_EQ(rcx() & 1u << 5, 0u);     // without VT
  rax() = 0xb, rcx() = 0;
  Does({0x0f, 0xa2});
  EXPECT_EQ(rdx(), 3u);

  rax() = 0x40000000;
  Does({0x0f, 0xa2});
  EXPECT_EQ(rax(), 0x40000001u);
  EXPECT_EQ(rbx(), 1u);
  EXPECT_EQ(rcx(), 2u);
  EXPECT_EQ(rdx(), 3u);
  rax() = 0x4fffffff;
  Does({0x0f, 0xa2});
  EXPECT_EQ(rax() | rbx() | rcx() | rdx(), 0u);
}

TEST_F(Privileged, EverythingElseIsTheGuestsOwnFault) {
  const std::vector<std::vector<uint8_t>> others = {
      {},                  // nothing that could be read
      {0x0f},              // half of something
      {0x0f, 0x20},        //
      {0xe4},              //
      {0xf0, 0xf4},        // lock hlt
      {0x06},              // no instruction
      {0x0f, 0x22, 0xc8},  // mov %rax, %cr1
      {0x90},              // nop
      {0x48, 0x89, 0xc3},  // mov %rax, %rbx
      {0x8e, 0xd8},        // mov %eax, %ds
      {0x8c, 0xd8},        // mov %ds, %eax
      {0x48, 0x8b, 0x00},  // mov (%rax), %rax
      {0x0f, 0x21, 0xc0},  // mov %db0, %rax
      {0x0f, 0x23, 0xc0},  // mov %rax, %db0
      {0x6c},              // insb
      {0xf3, 0x6e},        // rep outsb
      {0x48, 0xcf},        // iretq
      {0x0f, 0x01, 0xf8},  // swapgs
      {0x0f, 0x01, 0x10},  // lgdt (%rax)
      {0x0f, 0x00, 0xd8},  // ltr %ax
      {0x0f, 0x01, 0x38},  // invlpg (%rax)
      {0x0f, 0x08},        // invd
      {0x0f, 0x06},        // clts
      {0x0f, 0x01, 0xf0},  // lmsw %ax
      {0x0f, 0x01, 0xd1},  // xsetbv
      {0x0f, 0x33},        // rdpmc
      {0x0f, 0x01, 0xc1},  // vmcall
      {0xcd, 0x1f},        // int $0x1f
  };
  for (const auto& code : others) Refuses(code);
}

TEST_F(Privileged, WhatStandsBehindDoesNotMatter) {
  std::vector<uint8_t> code(15, 0xf4);
  code[0] = 0xfb;
  EXPECT_EQ(Run(code), Emulation::kDone);
  EXPECT_EQ(frame_.rip, kRip + 1);
}

}  // namespace
}  // namespace trapline::engine::direct

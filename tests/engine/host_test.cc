// SPDX-License-Identifier: Apache-2.0
// The ways from the guest to the core: `int $0x1f`, linked sites, rewritten pages, devices.
#include <gtest/gtest.h>

#include "tests/engine/machine.h"

namespace trapline::engine {
namespace {

constexpr std::initializer_list<uint8_t> kSite = {0xcd, 0x1f, 0x90, 0xf4};  // int 0x1f; nop; hlt

TEST(Hypercalls, InterruptIsOfferedToTheHost) {
  Machine m;
  uint64_t seen = 0;
  m.host().on_interrupt_site = [&](HypercallFrame& frame, uint64_t gpa) {
    seen = gpa;
    EXPECT_EQ(frame.rip, Machine::kCode);
    EXPECT_EQ(frame.gva, Machine::kCode);
    EXPECT_EQ(frame.cpl, 0);
    EXPECT_TRUE(frame.long_mode);
    EXPECT_EQ(frame.length, 2);
    frame.gpr[x86::kRax] = 77;
    frame.length = 3;
    return HypercallOutcome::kServed;
  };
  m.Load(kSite);
  ASSERT_EQ(m.Run(m.Kernel()).reason, ExitReason::kHalt);
  EXPECT_EQ(seen, Machine::kCode);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 77u);
  EXPECT_TRUE(m.interrupted().empty());
}

TEST(Hypercalls, WhatIsNotOursGoesToTheGuest) {
  Machine m;
  m.Load(kSite);
  ASSERT_EQ(m.Run(m.Kernel()).reason, ExitReason::kHalt);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].vector, 0x1fu);
  EXPECT_EQ(m.interrupted()[0].rip, Machine::kCode + 2);
}

TEST(Hypercalls, LinkedSiteIsCalledWithoutAsking) {
  Machine m;
  int site = 0;
  unsigned resolved = 0, called = 0;
  m.host().resolve = [&](uint64_t gpa) -> void* {
    EXPECT_EQ(gpa, Machine::kCode);
    ++resolved;
    return &site;
  };
  m.host().on_linked = [&](void* bound, HypercallFrame& frame) {
    EXPECT_EQ(bound, &site);
    ++called;
    frame.gpr[x86::kRax] = called;
    frame.length = 3;
    return HypercallOutcome::kServed;
  };
  // int 0x1f; nop; dec ecx; jnz -7; hlt
  m.Load({0xcd, 0x1f, 0x90, 0xff, 0xc9, 0x75, 0xf9, 0xf4});
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRcx] = 50;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(called, 50u);
  EXPECT_EQ(resolved, 1u);
  // Told to forget, it asks again.
  m.engine().InvalidateCode(Machine::kCode, 3);
  r.gpr[x86::kRcx] = 1;
  m.Run(r);
  EXPECT_EQ(resolved, 2u);
}

TEST(Hypercalls, OutcomesThatLeave) {
  Machine m;
  HypercallOutcome outcome = HypercallOutcome::kHalt;
  m.host().on_interrupt_site = [&](HypercallFrame& frame, uint64_t) {
    frame.length = 3;
    return outcome;
  };
  m.Load({0xcd, 0x1f, 0x90, 0xb8, 9, 0, 0, 0, 0xf4});
  EXPECT_EQ(m.Run(m.Kernel()).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.rip, Machine::kCode + 3);
  outcome = HypercallOutcome::kExit;
  EXPECT_EQ(m.Run(m.Kernel()).reason, ExitReason::kKick);
  EXPECT_EQ(m.regs.rip, Machine::kCode + 3);
  EXPECT_EQ(m.Continue().reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 9u);
  outcome = HypercallOutcome::kInvalidOpcode;
  EXPECT_EQ(m.Run(m.Kernel()).reason, ExitReason::kTrap);
  EXPECT_EQ(m.regs.rip, Machine::kCode);
}

// kData + 0x10 holds three rewritten bytes, as the patcher would leave them.
class Rewritten : public testing::Test {
 protected:
  static constexpr uint64_t kAt = Machine::kData + 0x10;

  Rewritten() {
    m.Load({0xcd, 0x1f, 0x90, 0xc3}, kAt);
    m.host().overlay = [this](uint64_t gpa, std::span<std::byte> bytes, bool fetch) {
      if (!patched || (fetch && gpa == kAt)) return;
      constexpr uint8_t kOriginal[] = {0x0f, 0x01, 0xc1};
      for (unsigned i = 0; i < 3; ++i) {
        uint64_t at = kAt + i - gpa;
        if (at < bytes.size()) bytes[at] = std::byte{kOriginal[i]};
      }
    };
    m.host().before_write = [this](uint64_t gpa, uint64_t size) {
      writes.emplace_back(gpa, size);
      if (!(kAt < gpa + size && gpa < kAt + 3)) return;
      m.engine().RunExclusive([&] {
        m.Load({0x0f, 0x01, 0xc1}, kAt);
        m.engine().SetShadowed(kAt, false);
        patched = false;
      });
    };
    m.engine().RunExclusive([&] { m.engine().SetShadowed(kAt, true); });
    r = m.Kernel();
    r.gpr[x86::kRdi] = kAt;
  }
  Machine m;
  x86::Registers r;
  bool patched = true;
  std::vector<std::pair<uint64_t, uint64_t>> writes;
};

TEST_F(Rewritten, ReadsSeeTheOriginal) {
  m.Load({0x8b, 0x07, 0xf4});  // mov eax, [rdi]
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRax], 0xc3c1010fu);
}

TEST_F(Rewritten, ExecutionSeesTheNewBytesButNotInTheirMiddle) {
  unsigned called = 0;
  m.host().on_interrupt_site = [&](HypercallFrame& frame, uint64_t gpa) {
    EXPECT_EQ(gpa, kAt);
    ++called;
    frame.length = 3;
    return HypercallOutcome::kServed;
  };
  m.Load({0xff, 0xd7, 0xf4});  // call rdi
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(called, 1u);
  // At + 1 stands, originally, add ecx, eax.
  r.gpr[x86::kRdi] = kAt + 1;
  r.gpr[x86::kRax] = 5;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.regs.gpr[x86::kRcx], 5u);
  EXPECT_EQ(called, 1u);
}

TEST_F(Rewritten, WritesAreAnnouncedAndTheSiteIsGone) {
  m.Load({0x88, 0x47, 0x20, 0xc6, 0x47, 0x01, 0xaa, 0x8b, 0x07,
          0xf4});  // mov [rdi+32], al; mov byte [rdi+1], 0xaa; mov eax, [rdi]
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  ASSERT_EQ(writes.size(), 2u);
  EXPECT_EQ(writes[0], std::make_pair(kAt + 32, uint64_t{1}));
  EXPECT_EQ(m.regs.gpr[x86::kRax], 0xc3c1aa0fu);
  EXPECT_FALSE(patched);
}

TEST_F(Rewritten, LockedAndStringWritesToo) {
  m.Load({0xf0, 0x0f, 0xb1, 0x0f, 0xf4});  // lock cmpxchg [rdi], ecx
  r.gpr[x86::kRax] = 0xc3c1010f;
  r.gpr[x86::kRcx] = 0x11223344;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.Peek<uint32_t>(kAt), 0x11223344u);
  EXPECT_TRUE(m.regs.rflags & x86::rflags::kZf);
  EXPECT_FALSE(patched);
}

TEST(Devices, AccessesKeepTheirSizes) {
  Machine m;
  m.Pte(Machine::kData) = 0x10000000 | x86::pte::kPresent | x86::pte::kWritable;
  // mov al, [rdi]; mov [rdi+2], ax; mov eax, [rdi+4]; mov [rdi+8], rax; hlt
  m.Load({0x8a, 0x07, 0x66, 0x89, 0x47, 0x02, 0x8b, 0x47, 0x04, 0x48, 0x89, 0x47, 0x08, 0xf4});
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdi] = Machine::kData;
  m.host().mmio_value = 0x1122334455667788;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  EXPECT_EQ(m.host().mmio_sizes, (std::vector<unsigned>{1, 2, 4, 8}));
  EXPECT_EQ(m.regs.gpr[x86::kRax], 0x55667788u);
}

TEST(Devices, CodeOutsideRamEndsTheRunWithAReason) {
  Machine m;
  m.Pte(Machine::kData) = 0x10000000 | x86::pte::kPresent;
  x86::Registers r = m.Kernel();
  r.rip = Machine::kData;
  Exit exit = m.Run(r);
  EXPECT_EQ(exit.reason, ExitReason::kFailure);
  EXPECT_FALSE(exit.failure.empty());
}

TEST(Engine, RefusesBadRam) {
  std::byte* host = nullptr;
  for (auto regions : {std::vector<RamRegion>{{0, 0x1001, host}},
                       {{0x1000, 0x1000, host}, {0, 0x1000, host}},
                       {{0, 0x2000, host}, {0x1000, 0x1000, host}},
                       {{0, 0, host}}}) {
    EXPECT_EQ(CreateSoftEngine(regions, {}).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace trapline::engine

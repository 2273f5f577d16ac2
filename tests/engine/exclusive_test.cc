// SPDX-License-Identifier: Apache-2.0
// Several vCPUs: locked instructions, kicks, and being alone.
#include <gtest/gtest.h>

#include "tests/engine/machine.h"

namespace trapline::engine {
namespace {

// Two vCPUs add at the same place; nothing may be lost.
void AddTogether(uint64_t at, uint64_t rounds) {
  Machine m(2);
  m.Load(guest_locked_adds, guest_locked_adds_end);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      x86::Registers r = m.Kernel(i);
      r.gpr[x86::kRdi] = at;
      r.gpr[x86::kRcx] = rounds;
      EXPECT_EQ(m.Run(r, i).reason, ExitReason::kHalt);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(m.Peek<uint32_t>(at), 2 * 4 * rounds);
}

TEST(Exclusive, LockedAddsAreAtomic) { AddTogether(Machine::kData, 50'000); }
TEST(Exclusive, LockedAddsAreAtomicUnaligned) { AddTogether(Machine::kData + 61, 20'000); }
TEST(Exclusive, LockedAddsAreAtomicAcrossPages) { AddTogether(Machine::kData + 0xffe, 500); }

TEST(Exclusive, LockedAccessThatFaultsLeavesTheMachineRunning) {
  Machine m(2);
  m.Pte(Machine::kData + 0x1000) = 0;
  m.Load({0xf0, 0xff, 0x07, 0xf4});  // lock inc dword [rdi]
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdi] = Machine::kData + 0xffe;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  ASSERT_EQ(m.interrupted().size(), 1u);
  EXPECT_EQ(m.interrupted()[0].vector, 14u);
  EXPECT_EQ(m.Peek<uint16_t>(Machine::kData + 0xffe), 0);
  bool ran = false;
  m.engine().RunExclusive([&] { ran = true; });
  EXPECT_TRUE(ran);
}

TEST(Exclusive, LockedAccessToADevice) {
  Machine m;
  m.Pte(Machine::kData) = 0x10000000 | x86::pte::kPresent | x86::pte::kWritable;
  m.host().mmio_value = 41;
  m.Load({0xf0, 0xff, 0x07, 0xf4});
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRdi] = Machine::kData + 8;
  ASSERT_EQ(m.Run(r).reason, ExitReason::kHalt);
  ASSERT_EQ(m.host().mmio_writes.size(), 1u);
  EXPECT_EQ(m.host().mmio_writes[0], std::make_pair(uint64_t{0x10000008}, uint64_t{42}));
}

// Two vCPUs count for ever at kData and kData + 64.
class Counting : public testing::Test {
 protected:
  Counting() {
    m.Load(guest_counter, guest_counter_end);
    for (unsigned i = 0; i < 2; ++i) {
      threads.emplace_back([this, i] {
        x86::Registers r = m.Kernel(i);
        r.gpr[x86::kRdi] = Machine::kData + 64 * i;
        EXPECT_EQ(m.Run(r, i).reason, ExitReason::kKick);
      });
    }
    while (Count(0) == 0 || Count(1) == 0) std::this_thread::yield();
  }
  ~Counting() override {
    for (unsigned i = 0; i < 2; ++i) m.vcpu(i).Kick();
    for (auto& thread : threads) thread.join();
  }
  uint64_t Count(unsigned i) {
    return __atomic_load_n(m.At<uint64_t>(Machine::kData + 64 * i), __ATOMIC_RELAXED);
  }

  Machine m{2};
  std::vector<std::thread> threads;
};

TEST_F(Counting, NobodyRunsWhileSomebodyIsAlone) {
  for (unsigned round = 0; round < 200; ++round) {
    m.engine().RunExclusive([&] {
      uint64_t first = Count(0), second = Count(1);
      for (unsigned i = 0; i < 100; ++i) std::this_thread::yield();
      EXPECT_EQ(Count(0), first);
      EXPECT_EQ(Count(1), second);
    });
  }
}

TEST_F(Counting, TwoThreadsTakeTurns) {
  unsigned inside = 0, runs = 0;
  auto body = [&] {
    for (unsigned round = 0; round < 100; ++round) {
      m.engine().RunExclusive([&] {
        EXPECT_EQ(++inside, 1u);
        ++runs;
        --inside;
      });
    }
  };
  std::thread other(body);
  body();
  other.join();
  EXPECT_EQ(runs, 200u);
}

TEST(Exclusive, FromWithinCallbacksOfTwoVcpus) {
  Machine m(2);
  // mov ecx, 100; out 1, al; dec ecx; jnz; hlt
  m.Load({0xb9, 100, 0, 0, 0, 0xe6, 0x01, 0xff, 0xc9, 0x75, 0xfa, 0xf4});
  unsigned runs = 0;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 2; ++i) {
    m.host(i).on_port_write = [&](uint16_t, uint32_t) { m.engine().RunExclusive([&] { ++runs; }); };
    threads.emplace_back([&, i] { EXPECT_EQ(m.Run(m.Kernel(i), i).reason, ExitReason::kHalt); });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(runs, 200u);
}

TEST(Exclusive, KickBeforeRunCounts) {
  Machine m;
  m.Load({0xeb, 0xfe});
  m.vcpu().Kick();
  EXPECT_EQ(m.Run(m.Kernel()).reason, ExitReason::kKick);
  EXPECT_EQ(m.regs.rip, Machine::kCode);
}

TEST(Exclusive, KickEndsARepeatedInstructionBetweenTwoSteps) {
  Machine m;
  m.Load({0xf3, 0x6e, 0xf4});  // rep outsb
  x86::Registers r = m.Kernel();
  r.gpr[x86::kRsi] = Machine::kData;
  r.gpr[x86::kRcx] = 100;
  m.host().on_port_write = [&](uint16_t, uint32_t) {
    if (m.host().port_writes.size() == 10) m.vcpu().Kick();
  };
  ASSERT_EQ(m.Run(r).reason, ExitReason::kKick);
  EXPECT_EQ(m.regs.gpr[x86::kRcx], 90u);
  EXPECT_EQ(m.regs.rip, Machine::kCode);
  ASSERT_EQ(m.Continue().reason, ExitReason::kHalt);
  EXPECT_EQ(m.host().port_writes.size(), 100u);
}

}  // namespace
}  // namespace trapline::engine

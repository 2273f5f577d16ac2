// SPDX-License-Identifier: Apache-2.0
// Calls that the guest process answers by itself are recorded there while somebody traces, and go
// on being answered there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>

#include "core/base/cycles.h"
#include "core/engine/call_log.h"
#include "core/engine/direct/direct_engine.h"
#include "core/engine/direct/guest_code.h"
#include "core/engine/direct/probe.h"
#include "core/guest/abi.h"
#include "tests/engine/machine.h"

namespace trapline::engine::direct {
namespace {

// The guest: makes as many calls as the word at RDI says, with number R10 and R8, counted up, as
// the first argument, then halts; and again. Runs at kText.
extern "C" const char recording_guest[], recording_guest_end[];
asm(R"(
.pushsection .rodata
.globl recording_guest, recording_guest_end
recording_guest:
  mov (%rdi), %r9
1: mov %r10, %rax
  mov %r8, %rbx
  vmcall
  .byte 0x66, 0x90
  inc %r8
  dec %r9
  jnz 1b
  hlt
  jmp recording_guest
recording_guest_end:
.popsection
)");

constexpr uint64_t kText = 0x100000, kCount = 0x200000, kSite = 9, kRamSize = 4 << 20;
constexpr uint32_t kRow = 2;  // of the site's counters
constexpr uint64_t kArgs[] = {1000, 0x1111, 0x2222, 0x3333};

// What vCPU 0 shares with its process, as the stats file has it.
struct Stats {
  alignas(kPage) SiteCounters counters[kRow + 1];
  alignas(kPage) CallLog log;
  alignas(kPage) TraceRing ring;
};

class Recording : public ::testing::Test {
 protected:
  void SetUp() override {
    const HostProbe probe = ProbeHost();
    if (!probe.missing.empty()) GTEST_SKIP() << probe.missing;
    auto ram = SharedArea::Create("test-ram", kRamSize);
    auto stats = SharedArea::Create("test-stats", sizeof(Stats));
    ASSERT_TRUE(ram.ok() && stats.ok());
    ram_ = *std::move(ram);
    stats_ = *std::move(stats);
    std::memcpy(ram_->data() + kText, recording_guest,
                static_cast<size_t>(recording_guest_end - recording_guest));
    DirectConfig config{.ram = {{0, kRamSize, ram_->data()}},
                        .ram_fd = ram_->fd(),
                        .segments = {{kText, kPage, false, true}},
                        .entries = {kText},
                        .stats_fd = stats_->fd(),
                        .counters_size = offsetof(Stats, log),
                        .logs_offset = offsetof(Stats, log),
                        .rings_offset = offsetof(Stats, ring),
                        .vmcall = probe.vmcall,
                        .vmmcall = probe.vmmcall,
                        .tsc_frequency = 2'000'000'000,
                        .console = [](std::string_view) {}};
    auto engine = CreateDirectEngine(config);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    EXPECT_THAT(engine_->OnImageLoaded(), ::testing::IsEmpty());
    MakeVcpu();
  }

  void MakeVcpu() {
    host_.on_interrupt_site = [this](HypercallFrame& frame, uint64_t) { return Answer(frame); };
    host_.resolve = [this](uint64_t) { return this; };
    host_.on_linked = [this](void*, HypercallFrame& frame) { return Answer(frame); };
    auto vcpu = engine_->CreateVcpu(0, host_);
    ASSERT_TRUE(vcpu.ok()) << vcpu.status();
    vcpu_ = *std::move(vcpu);
    x86::Registers registers;
    registers.rip = kText;
    registers.gpr[x86::kRdi] = kCount;
    registers.gpr[x86::kR10] = TRAPLINE_HC_PING;
    registers.gpr[x86::kR8] = kArgs[0];
    registers.gpr[x86::kRcx] = kArgs[1];
    registers.gpr[x86::kRdx] = kArgs[2];
    registers.gpr[x86::kRsi] = kArgs[3];
    vcpu_->SetRegisters(registers);
  }
  // A call that came to the host.
  HypercallOutcome Answer(HypercallFrame& frame) {
    ++asked_;
    frame.gpr[x86::kRax] = frame.gpr[x86::kRbx];
    frame.length = kSiteLength;
    return HypercallOutcome::kServed;
  }

  void Enter(SiteEntry entry, bool settled = true) {
    engine_->RunExclusive([&] {
      SiteSpec site{.gpa = kText + kSite,
                    .index = kRow,
                    .original = {0x0f, 0x01, 0xc1},
                    .length = kSiteLength};
      ASSERT_EQ(engine_->RewriteSite(site, entry), RewriteResult::kDone);
      engine_->SettleSite(site, settled);
    });
  }
  void Call(uint64_t count) {
    std::memcpy(ram_->data() + kCount, &count, sizeof count);
    Exit exit = vcpu_->Run();
    ASSERT_EQ(exit.reason, ExitReason::kHalt) << exit.failure;
  }

  Stats& stats() { return *reinterpret_cast<Stats*>(stats_->data()); }
  uint64_t counted(Path path) {
    return stats().counters[kRow].calls[static_cast<size_t>(path)][0].load();
  }
  uint64_t traced() { return stats().log.traced.load(); }

  std::unique_ptr<SharedArea> ram_, stats_;
  std::unique_ptr<Engine> engine_;
  TestHost host_;
  std::unique_ptr<Vcpu> vcpu_;
  uint64_t asked_ = 0;
};

struct Way {
  SiteEntry entry;
  Path path;
};
class RecordingBy : public Recording, public ::testing::WithParamInterface<Way> {};

TEST_P(RecordingBy, EachCallIsWrittenDownWholeAndAnsweredInTheProcess) {
  constexpr uint64_t kCalls = 200;
  host_.tsc_offset = 12345;
  Enter(GetParam().entry);
  engine_->TraceCalls(true);
  uint64_t before = base::HostCycles() - host_.tsc_offset;
  Call(kCalls);
  EXPECT_EQ(asked_, 0u);
  EXPECT_EQ(counted(GetParam().path), kCalls);
  ASSERT_EQ(traced(), kCalls);
  for (uint64_t i = 0; i < kCalls; ++i) {
    const TraceRecord& record = stats().ring.records[i];
    ASSERT_EQ(record.sequence.load(), i + 1);
    EXPECT_GE(record.time, before);
    before = record.time;
    EXPECT_EQ(record.gva, 0u) << "the site's";
    EXPECT_EQ(record.number, uint64_t{TRAPLINE_HC_PING});
    EXPECT_THAT(record.args, ::testing::ElementsAre(kArgs[0] + i, kArgs[1], kArgs[2], kArgs[3]));
    EXPECT_EQ(record.result, kArgs[0] + i);
    EXPECT_EQ(record.site, kRow);
    EXPECT_GT(record.cycles, 0u);
    EXPECT_EQ(static_cast<Path>(record.path), GetParam().path);
    EXPECT_EQ(record.cpl, 0);
  }
  EXPECT_LE(before, base::HostCycles() - host_.tsc_offset);
}

std::string WayName(const ::testing::TestParamInfo<Way>& info) {
  constexpr const char* kNames[kPathCount] = {"Trap", "Interrupt", "Linked"};
  return kNames[static_cast<size_t>(info.param.path)];
}

INSTANTIATE_TEST_SUITE_P(Ways, RecordingBy,
                         ::testing::Values(Way{SiteEntry::kTrap, Path::kTrap},
                                           Way{SiteEntry::kInterrupt, Path::kInterrupt},
                                           Way{SiteEntry::kLinked, Path::kLinked}),
                         WayName);

TEST_F(Recording, BeginsAndEndsUnderAProcess) {
  Enter(SiteEntry::kLinked);
  Call(100);
  EXPECT_EQ(traced(), 0u);
  engine_->TraceCalls(true);
  Call(100);
  EXPECT_EQ(traced(), 100u);
  engine_->TraceCalls(false);
  Call(100);
  EXPECT_EQ(traced(), 100u);
  engine_->TraceCalls(true);
  Call(100);
  EXPECT_EQ(traced(), 200u);
  EXPECT_EQ(counted(Path::kLinked), 400u);
  EXPECT_EQ(asked_, 0u);
}

TEST_F(Recording, CallsThatAreTimedAnywayAreKeptThoughNobodyTraces) {
  Enter(SiteEntry::kLinked);
  Call(10);
  EXPECT_EQ(traced(), 0u);
  ASSERT_GE(stats().log.kept.load(), 1u);
  EXPECT_EQ(stats().log.recent[0].sequence.load(), 1u);
  EXPECT_EQ(stats().log.recent[0].args[0], kArgs[0]) << "the first of all";
  EXPECT_EQ(stats().log.recent[0].result, kArgs[0]);
}

TEST_F(Recording, WithoutBudgetCallsGoByCountedAndInTheProcess) {
  constexpr uint64_t kCalls = 5'000'000;
  Enter(SiteEntry::kLinked);
  engine_->TraceCalls(true);
  Call(kCalls);
  EXPECT_EQ(counted(Path::kLinked), kCalls);
  EXPECT_GE(traced(), kTraceCapacity / 2) << "the burst";
  EXPECT_LT(traced(), kCalls);
  EXPECT_EQ(asked_, 0u);
}

TEST_F(Recording, WhatTheHostAnswersTheHostRecords) {
  Enter(SiteEntry::kLinked, false);
  engine_->TraceCalls(true);
  x86::Registers registers = vcpu_->GetRegisters();
  registers.gpr[x86::kR10] = TRAPLINE_HC_ENTROPY;
  vcpu_->SetRegisters(registers);
  Call(100);
  EXPECT_EQ(asked_, 100u);
  EXPECT_EQ(traced(), 0u);
  EXPECT_EQ(counted(Path::kLinked), 0u);
}

// Guest code can write there: positions of nonsense lead nowhere but into the ring.
TEST_F(Recording, AnyPositionIsOneOfTheRings) {
  Enter(SiteEntry::kLinked);
  engine_->TraceCalls(true);
  for (uint64_t position : {~uint64_t{0}, uint64_t{1} << 63, uint64_t{kTraceCapacity} * 7 + 3}) {
    stats().log.traced = position;
    Call(1);
    EXPECT_EQ(traced(), position + 1);
    EXPECT_EQ(stats().ring.records[position % kTraceCapacity].sequence.load(), position + 1);
  }
}

}  // namespace
}  // namespace trapline::engine::direct

// SPDX-License-Identifier: Apache-2.0
// One site, rewritten over and over under four vCPUs that call through it all the time. Every call
// is answered, once, and counted, once, whatever stood there when it was made.
//
// TRAPLINE_PATCH_ROUNDS: how often the site is patched and reverted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/engine/direct/direct_engine.h"
#include "core/engine/direct/guest_code.h"
#include "core/engine/direct/probe.h"
#include "core/guest/abi.h"
#include "tests/engine/machine.h"

namespace trapline::engine::direct {
namespace {

// The guest: RDI points to its counts (calls, wrong answers), RSI to a word that ends it. Besides
// the answer it looks at carry, which no call may change. Runs at kText.
extern "C" const char patch_guest_three[], patch_guest_five[], patch_guest_end[];
asm(R"(
.pushsection .rodata
.macro PATCH_GUEST
  mov $4096, %eax
  mov %r8, %rbx
  stc
.endm
.macro PATCH_GUEST_CHECK again
  jnc 1f
  cmp %r8, %rax
  je 2f
1: incq 8(%rdi)
2: incq (%rdi)
  add %r9, %r8
  cmpl $0, (%rsi)
  je \again
  hlt
.endm
.globl patch_guest_three, patch_guest_five, patch_guest_end
.balign 16
patch_guest_three:
  PATCH_GUEST
  vmcall
  .byte 0x0f, 0x1f, 0x40, 0x00
  PATCH_GUEST_CHECK patch_guest_three
.balign 16
patch_guest_five:
  PATCH_GUEST
  vmcall
  .byte 0x66, 0x90
  PATCH_GUEST_CHECK patch_guest_five
patch_guest_end:
.popsection
)");

constexpr uint64_t kText = 0x100000, kData = 0x200000, kStop = kData + 0x1000, kSite = 9;
constexpr uint64_t kRamSize = 4 << 20;
constexpr uint32_t kVcpus = 4;
// In the stats file, behind a page of counters for each.
constexpr uint64_t kLogs = kVcpus * kPage, kRings = kLogs + kVcpus * sizeof(CallLog);

uint64_t Rounds() {
  constexpr uint64_t kDefault = 20'000;
  uint64_t rounds = kDefault;
  const char* wanted = std::getenv("TRAPLINE_PATCH_ROUNDS");
  return wanted && absl::SimpleAtoi(wanted, &rounds) ? rounds : kDefault;
}

// One vCPU with its thread. The host answers what the guest's process leaves to it.
class Caller {
 public:
  Caller(Engine& engine, uint32_t number, uint64_t site) : site_(site) {
    host_.on_interrupt_site = [this](HypercallFrame& frame, uint64_t gpa) {
      if (gpa != site_) ++strange_;
      return Answer(frame, Path::kInterrupt);
    };
    host_.resolve = [this](uint64_t gpa) { return gpa == site_ ? this : nullptr; };
    host_.on_linked = [this](void*, HypercallFrame& frame) { return Answer(frame, Path::kLinked); };
    auto vcpu = engine.CreateVcpu(number, host_);
    EXPECT_TRUE(vcpu.ok()) << vcpu.status();
    vcpu_ = *std::move(vcpu);
    x86::Registers registers;
    registers.rip = kText;
    registers.gpr[x86::kRdi] = kData + 64 * number;
    registers.gpr[x86::kRsi] = kStop;
    registers.gpr[x86::kR8] = number;
    registers.gpr[x86::kR9] = 0x9e3779b97f4a7c15;
    vcpu_->SetRegisters(registers);
  }
  void Start() {
    thread_ = std::thread([this] { Run(); });
  }
  void Join() { thread_.join(); }

  const std::array<uint64_t, kPathCount>& calls() const { return calls_; }
  uint64_t strange() const { return strange_; }
  const std::string& failure() const { return failure_; }

 private:
  HypercallOutcome Answer(HypercallFrame& frame, Path path) {
    if (frame.gpr[x86::kRax] != TRAPLINE_HC_PING) ++strange_;
    frame.gpr[x86::kRax] = frame.gpr[x86::kRbx];
    frame.length = kSiteLength;
    ++calls_[static_cast<size_t>(path)];
    return HypercallOutcome::kServed;
  }
  void Run() {
    for (;;) {
      Exit exit = vcpu_->Run();
      if (exit.reason == ExitReason::kHalt) return;
      if (exit.reason != ExitReason::kTrap || exit.trap.gpa[0] != site_) {
        failure_ = absl::StrCat("exit ", static_cast<int>(exit.reason), " vector ",
                                static_cast<int>(exit.exception.vector), " at 0x",
                                absl::Hex(vcpu_->GetRegisters().rip), " ", exit.failure);
        return;
      }
      HypercallFrame frame = vcpu_->Frame();
      Answer(frame, Path::kTrap);
      vcpu_->SetRip(site_ + kSiteLength);
    }
  }

  const uint64_t site_;
  TestHost host_;
  std::unique_ptr<Vcpu> vcpu_;
  std::thread thread_;
  std::array<uint64_t, kPathCount> calls_{};
  uint64_t strange_ = 0;
  std::string failure_;
};

class Patching : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const HostProbe probe = ProbeHost();
    if (!probe.missing.empty()) GTEST_SKIP() << probe.missing;
    auto ram = SharedArea::Create("test-ram", kRamSize);
    auto stats = SharedArea::Create("test-stats", kRings + kVcpus * sizeof(TraceRing));
    ASSERT_TRUE(ram.ok() && stats.ok());
    ram_ = *std::move(ram);
    stats_ = *std::move(stats);
    bool five = GetParam() == 5;
    const char* start = five ? patch_guest_five : patch_guest_three;
    const char* end = five ? patch_guest_end : patch_guest_five;
    std::memcpy(ram_->data() + kText, start, static_cast<size_t>(end - start));
    DirectConfig config{.ram = {{0, kRamSize, ram_->data()}},
                        .ram_fd = ram_->fd(),
                        .segments = {{kText, kPage, false, true}},
                        .entries = {kText},
                        .stats_fd = stats_->fd(),
                        .counters_stride = kPage,
                        .counters_size = kPage,
                        .logs_offset = kLogs,
                        .rings_offset = kRings,
                        .vmcall = probe.vmcall,
                        .vmmcall = probe.vmmcall,
                        .tsc_frequency = 2'000'000'000,
                        .vcpu_count = kVcpus,
                        .console = [](std::string_view) {}};
    auto engine = CreateDirectEngine(config);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    spec_ = {.gpa = kText + kSite, .index = 0, .original = {0x0f, 0x01, 0xc1}, .length = 3};
    EXPECT_EQ(std::memcmp(ram_->data() + spec_.gpa, spec_.original.data(), kSiteLength), 0);
    EXPECT_THAT(engine_->OnImageLoaded(), ::testing::IsEmpty());
    for (uint32_t i = 0; i < kVcpus; ++i)
      callers_.push_back(std::make_unique<Caller>(*engine_, i, spec_.gpa));
  }

  void Enter(SiteEntry entry, bool settled) {
    engine_->RunExclusive([&] {
      ASSERT_EQ(engine_->RewriteSite(spec_, entry), RewriteResult::kDone);
      engine_->SettleSite(spec_, settled);
    });
    // Now and then: some vCPU is under way, and did not get stuck.
    constexpr int kSpins = 20'000;  // giving the processor away takes longer
    constexpr uint64_t kOneIn = 64;
    if (++rewrites_ % kOneIn != 0) return;
    const uint64_t before = CallsMade();
    for (int i = 0; CallsMade() == before; ++i) {
      if (i % kSpins == kSpins - 1) sched_yield();
    }
  }
  uint64_t CallsMade() const {
    uint64_t made = 0;
    for (uint32_t i = 0; i < kVcpus; ++i) made += Word(kData + 64 * i);
    return made;
  }
  void PatchAndRevert(uint64_t round) {
    bool settled = round % 5 != 0;
    Enter(round % 2 == 0 ? SiteEntry::kLinked : SiteEntry::kInterrupt, settled);
    if (round % 3 == 0) Enter(round % 2 == 0 ? SiteEntry::kInterrupt : SiteEntry::kLinked, settled);
    Enter(SiteEntry::kTrap, settled);
  }
  uint64_t Word(uint64_t gpa) const {
    return std::atomic_ref(*reinterpret_cast<uint64_t*>(ram_->data() + gpa)).load();
  }

  std::unique_ptr<SharedArea> ram_, stats_;
  std::unique_ptr<Engine> engine_;
  SiteSpec spec_{};
  uint64_t rewrites_ = 0;
  std::vector<std::unique_ptr<Caller>> callers_;
};

TEST_P(Patching, AnswersEveryCallOnce) {
  for (auto& caller : callers_) caller->Start();
  for (uint32_t i = 0; i < kVcpus; ++i) {
    while (Word(kData + 64 * i) == 0) sched_yield();
  }
  const uint64_t rounds = Rounds();
  for (uint64_t i = 0; i < rounds && !HasFatalFailure(); ++i) PatchAndRevert(i);
  std::atomic_ref(*reinterpret_cast<uint32_t*>(ram_->data() + kStop)).store(1);
  for (auto& caller : callers_) caller->Join();

  uint64_t wrong = 0;
  std::array<uint64_t, kPathCount> counted{};
  for (uint32_t i = 0; i < kVcpus; ++i) {
    EXPECT_EQ(callers_[i]->failure(), "");
    EXPECT_EQ(callers_[i]->strange(), 0u);
    wrong += Word(kData + 64 * i + 8);
    const auto& counters = reinterpret_cast<const SiteCounters&>(stats_->data()[kPage * i]);
    for (size_t path = 0; path < kPathCount; ++path) {
      counted[path] += callers_[i]->calls()[path];
      for (const auto& calls : counters.calls[path]) counted[path] += calls;
    }
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(counted[0] + counted[1] + counted[2], CallsMade());
  EXPECT_GT(CallsMade(), rounds);
  for (uint64_t by_path : counted) EXPECT_GT(by_path, 0u);
  for (size_t path = 0; path < kPathCount; ++path)
    RecordProperty(absl::StrCat("calls_by_path_", path), absl::StrCat(counted[path]));
}

INSTANTIATE_TEST_SUITE_P(Bytes, Patching, ::testing::Values(3, 5),
                         [](const auto& info) { return absl::StrCat("Of", info.param); });

}  // namespace
}  // namespace trapline::engine::direct

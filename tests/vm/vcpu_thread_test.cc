// SPDX-License-Identifier: Apache-2.0
// The run loop over a vCPU that only tells how often it was run: what an engine's loss of it leads
// to.
#include "core/vm/vcpu_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "tests/hypercall/fakes.h"

namespace trapline::vm {
namespace {

using ::testing::HasSubstr;

// Halts, until it is lost.
class LosableVcpu final : public engine::Vcpu {
 public:
  engine::Exit Run() override {
    engine::Exit exit{};
    exit.reason = lost ? engine::ExitReason::kFailure : engine::ExitReason::kHalt;
    if (lost) exit.failure = "the process died";
    if (!lost) halted = true;
    return exit;
  }
  void Kick() override {}
  void RequestAttention() override {}
  x86::Registers GetRegisters() override { return {}; }
  void SetRegisters(const x86::Registers&) override {}
  engine::HypercallFrame Frame() override {
    return {.gpr = gpr, .rip = 0, .gva = 0, .cpl = 0, .long_mode = true};
  }
  void SetRip(uint64_t) override {}
  void InjectException(x86::Vector, uint32_t) override {}
  absl::StatusOr<uint64_t> Translate(uint64_t) override { return absl::NotFoundError("nothing"); }
  uint64_t instructions_retired() const override { return 0; }

  std::atomic<bool> lost{false};
  std::atomic<bool> halted{false};
  std::array<uint64_t, x86::kGprCount> gpr{};
};

class LostVcpu : public ::testing::Test {
 protected:
  LostVcpu() : memory_(*machine::GuestMemory::Create(1 << 20)) {
    hypercalls_ = std::make_unique<hypercall::HypercallCore>(
        engine_, services_, services_, *hypercall::StatsFile::Create("", 1), hypercall::Policy{},
        hypercall::HypercallCore::Listener{});
    auto vcpu = std::make_unique<LosableVcpu>();
    vcpu_ = vcpu.get();
    thread_.SetVcpu(std::move(vcpu));
  }
  ~LostVcpu() override {
    gate_.Dismantle();
    thread_.Nudge();
    thread_.Join();
    platform_.timers().Stop();
  }
  void Launch(const x86::Registers* boot_registers) {
    thread_.Prepare(boot_registers);
    thread_.Launch();
    gate_.Open();
  }
  void Lose() {
    vcpu_->lost = true;
    thread_.OnLost();
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](std::string* report) { return !report->empty(); }, &report_));
    EXPECT_THAT(report_, HasSubstr("the process died"));
  }

  static machine::PlatformObserver Callbacks() {
    machine::PlatformObserver callbacks;
    callbacks.on_attention = [](uint32_t) {};
    return callbacks;
  }

  base::VmClock clock_;
  RunGate gate_;
  std::unique_ptr<machine::GuestMemory> memory_;
  hypercall::FakeHost services_;
  hypercall::FakeEngine engine_{services_};

  machine::Platform platform_{1, clock_, Callbacks()};
  std::unique_ptr<hypercall::HypercallCore> hypercalls_;
  absl::Mutex mutex_;
  std::string report_ ABSL_GUARDED_BY(mutex_);
  LosableVcpu* vcpu_;
  VcpuThread thread_{
      0,
      {gate_, clock_, platform_, *memory_, services_, hypercalls_,
       [this](const FaultReport& report) {
         absl::MutexLock lock(&mutex_);
         report_ = report.line;
       },
       [](uint32_t, const x86::Registers&) {}, [](uint64_t) { return std::string(); }}};
};

TEST_F(LostVcpu, IsRunOnceMoreFromItsHalt) {
  x86::Registers registers;
  Launch(&registers);
  while (!vcpu_->halted) std::this_thread::yield();
  Lose();
}

TEST_F(LostVcpu, IsRunOnceMoreWhileItWaitsForItsStart) {
  Launch(nullptr);
  Lose();
  EXPECT_FALSE(vcpu_->halted);
}

}  // namespace
}  // namespace trapline::vm

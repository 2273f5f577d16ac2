// SPDX-License-Identifier: Apache-2.0
// One vCPU: its thread, its run loop, and what its engine may ask of the rest of the VM.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "core/base/vm_clock.h"
#include "core/engine/engine.h"
#include "core/hypercall/hypercall_core.h"
#include "core/hypercall/pv_clock.h"
#include "core/machine/platform/platform.h"
#include "core/vm/doorbell.h"
#include "core/vm/fault_report.h"
#include "core/vm/run_delay.h"
#include "core/vm/run_gate.h"
#include "core/vm/upcalls.h"

namespace trapline::vm {

// What all vCPU threads of a VM share; everything outlives the threads.
struct VcpuShared {
  RunGate& gate;
  base::VmClock& clock;
  machine::Platform& platform;
  machine::GuestMemory& memory;
  hypercall::ServiceHost& services;
  const std::unique_ptr<hypercall::HypercallCore>&
      hypercalls;  // made after the threads, before they run
  // A vCPU cannot go on: why. Called on its thread.
  std::function<void(const FaultReport& report)> on_dead;
  // This vCPU is to be started with these registers. Called on another vCPU's thread.
  std::function<void(uint32_t vcpu, const x86::Registers& registers)> start;
  // "name+0x12" for a linear address, empty if unknown.
  std::function<std::string(uint64_t gva)> symbolize;
  // May be empty; see Observer.
  std::function<void()> on_thread{};
};

// Construct, then SetVcpu, then Launch. Ring, Init and Startup may come from any thread;
// registers() and the activity belong to whoever has the gate closed.
class VcpuThread final : public engine::VcpuHost {
 public:
  VcpuThread(uint32_t index, VcpuShared shared);
  ~VcpuThread() override;

  void SetVcpu(std::unique_ptr<engine::Vcpu> vcpu) { vcpu_ = std::move(vcpu); }
  engine::Vcpu& vcpu() { return *vcpu_; }
  void Launch();
  // Waits until it has opened what it needs.
  void AwaitLaunched() { launched_.WaitForNotification(); }
  // Waits for the thread to end; the gate must have been dismantled.
  void Join();

  // Puts the vCPU at the start of its life: the boot processor with these registers, any other
  // waiting for a start-up IPI. The gate is closed.
  void Prepare(const x86::Registers* boot_registers);

  // Makes the thread leave the gate soon. Any thread.
  void Nudge();
  // An interrupt may wait for this vCPU. Any thread.
  void Attend();
  // Ends a HLT without an interrupt (KVM_HC_KICK_CPU). Any thread.
  void Unhalt();
  // INIT and start-up IPIs. Any thread.
  void Init();
  void Startup(uint8_t sipi_vector);

  // --- Paravirtual starts (TRAPLINE_HC_VCPU_START) ---
  // Reserves this vCPU for a start that follows; false: it was started already. Any thread.
  bool ClaimStart() { return !claimed_.exchange(true); }
  // Starts another vCPU, claimed before, in this one's mode as soon as this one has left Run. From
  // a service of this vCPU's.
  void StartLater(const hypercall::VcpuStart& start) { starts_.push_back(start); }
  // Lets this vCPU begin with these registers, if it waits for its start. Any thread.
  void Begin(const x86::Registers& registers);

  // This vCPU's upcall and events.
  Upcalls& upcalls() { return upcalls_; }

  // engine::VcpuHost
  uint64_t ReadMmio(uint64_t gpa, unsigned size) override;
  void WriteMmio(uint64_t gpa, unsigned size, uint64_t value) override;
  uint32_t ReadPort(uint16_t port, unsigned size) override;
  void WritePort(uint16_t port, unsigned size, uint32_t value) override;
  bool ReadMsr(uint32_t index, uint64_t* value) override;
  bool WriteMsr(uint32_t index, uint64_t value) override;
  std::optional<engine::CpuidLeaf> HypervisorCpuid(uint32_t leaf) override;
  bool InterruptPending() override;
  std::optional<uint8_t> AcknowledgeInterrupt() override;
  bool TakeNmi() override;
  uint8_t ReadTaskPriority() override;
  void WriteTaskPriority(uint8_t priority) override;
  uint64_t Tsc() override { return shared_.clock.Ticks(); }
  uint64_t TscOffset() override { return shared_.clock.offset(); }
  bool WantsExceptions() override { return upcalls_.registered(); }
  void OnLost() override;
  engine::HypercallOutcome OnHypercallInterrupt(engine::HypercallFrame& frame,
                                                uint64_t gpa) override;
  void* ResolveLinkedSite(uint64_t gpa) override;
  engine::HypercallOutcome OnLinkedHypercall(void* site, engine::HypercallFrame& frame) override;
  void BeforeShadowedWrite(uint64_t gpa, uint64_t size) override;
  void OverlayOriginal(uint64_t gpa, std::span<std::byte> bytes, bool fetch) override;

 private:
  enum class Activity { kWaitForStartup, kRunning, kHalted, kDead };
  static constexpr int kNoStartup = -1;
  static constexpr uint64_t kStealUpdatesPerSecond = 1000;

  void Main();
  void Step();
  void TakeInitAndStartup();
  void TakeStart();
  void Run();
  void StartOthers();
  bool HasWork();
  void HandleExit(const engine::Exit& exit);
  void HandleException(const engine::Exit::Exception& exception);
  // what: see ReportFault.
  void Die(std::string_view what);
  void HandleTrap(const engine::Exit::Trap& trap);
  void TellStealTime();

  const uint32_t index_;
  VcpuShared shared_;
  std::unique_ptr<engine::Vcpu> vcpu_;
  Activity activity_ = Activity::kWaitForStartup;
  Doorbell doorbell_;
  hypercall::PvClock pv_clock_;
  std::optional<RunDelay> run_delay_;  // the thread's own
  uint64_t steal_told_ = 0;            // when, in ticks
  Upcalls upcalls_;
  std::vector<hypercall::VcpuStart> starts_;  // of others, asked for in this run
  std::atomic<bool> claimed_{false};          // started, or about to be
  absl::Mutex begin_mutex_;
  std::unique_ptr<x86::Registers> begin_ ABSL_GUARDED_BY(begin_mutex_);
  std::atomic<bool> unhalted_{false};
  std::atomic<bool> lost_{false};
  std::atomic<bool> init_pending_{false};
  std::atomic<int> startup_vector_{kNoStartup};
  absl::Notification launched_;
  std::thread thread_;
};

}  // namespace trapline::vm

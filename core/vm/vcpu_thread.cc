// SPDX-License-Identifier: Apache-2.0
// The run loop: pass the gate, run the engine until an exit, hand the exit to whom it concerns, go
// round.
//
// A vCPU that has nothing to do (HLT, or waiting for a start-up IPI) sleeps on its doorbell inside
// the gate. Whoever gives it work rings: an interrupt controller through Attend, another vCPU
// through Init and Startup, the VM through Nudge when it closes the gate. Each stores what it has
// to say before it rings, and the thread looks at everything after each ring, so no wake-up is
// lost.
#include "core/vm/vcpu_thread.h"

#include <utility>

#include "core/hypercall/kvm_features.h"

namespace trapline::vm {

VcpuThread::VcpuThread(uint32_t index, VcpuShared shared)
    : index_(index),
      shared_(std::move(shared)),
      pv_clock_(shared_.services, shared_.clock.frequency()) {}

VcpuThread::~VcpuThread() { Join(); }

void VcpuThread::Launch() {
  thread_ = std::thread([this] { Main(); });
}

void VcpuThread::Join() {
  if (thread_.joinable()) thread_.join();
}

void VcpuThread::Prepare(const x86::Registers* boot_registers) {
  init_pending_ = false;
  startup_vector_ = kNoStartup;
  unhalted_ = false;
  pv_clock_.Reset();
  activity_ = boot_registers ? Activity::kRunning : Activity::kWaitForStartup;
  vcpu_->SetRegisters(boot_registers ? *boot_registers : x86::ResetState());
}

void VcpuThread::Nudge() {
  vcpu_->Kick();
  doorbell_.Ring();
}

void VcpuThread::Attend() {
  vcpu_->RequestAttention();
  doorbell_.Ring();
}

void VcpuThread::Unhalt() {
  unhalted_ = true;
  doorbell_.Ring();
}

void VcpuThread::Init() {
  startup_vector_ = kNoStartup;
  init_pending_ = true;
  Nudge();
}

void VcpuThread::Startup(uint8_t sipi_vector) {
  startup_vector_ = sipi_vector;
  Nudge();
}

void VcpuThread::Main() {
  run_delay_.emplace();
  while (shared_.gate.Enter()) {
    Step();
    shared_.gate.Leave();
  }
}

void VcpuThread::Step() {
  TakeInitAndStartup();
  switch (activity_) {
    case Activity::kWaitForStartup:
    case Activity::kDead:
      doorbell_.Wait();
      return;
    case Activity::kHalted:
      if (!shared_.platform.HasWork(index_) && !unhalted_.exchange(false)) {
        doorbell_.Wait();
        return;
      }
      activity_ = Activity::kRunning;
      shared_.hypercalls->BeginEpoch(index_);
      [[fallthrough]];
    case Activity::kRunning:
      HandleExit(vcpu_->Run());
  }
}

// INIT puts a processor into the wait-for-SIPI state; the first start-up IPI there starts it, later
// ones are ignored (SDM volume 3, section 8.4.2).
void VcpuThread::TakeInitAndStartup() {
  if (init_pending_.exchange(false)) {
    activity_ = Activity::kWaitForStartup;
    shared_.platform.InitApic(index_);
    vcpu_->SetRegisters(x86::ResetState());
  }
  int vector = startup_vector_.exchange(kNoStartup);
  if (vector == kNoStartup || activity_ != Activity::kWaitForStartup) return;
  vcpu_->SetRegisters(x86::StartupState(static_cast<uint8_t>(vector)));
  activity_ = Activity::kRunning;
}

void VcpuThread::HandleExit(const engine::Exit& exit) {
  switch (exit.reason) {
    case engine::ExitReason::kTrap:
      HandleTrap(exit.trap);
      return;
    case engine::ExitReason::kHalt:
      activity_ = Activity::kHalted;
      return;
    case engine::ExitReason::kKick:
      return;
    case engine::ExitReason::kShutdown:
    case engine::ExitReason::kFailure:
      activity_ = Activity::kDead;
      shared_.on_dead(index_, exit.failure);
      return;
  }
}

void VcpuThread::HandleTrap(const engine::Exit::Trap& trap) {
  switch (shared_.hypercalls->OnTrap(index_, *vcpu_, trap)) {
    case engine::HypercallOutcome::kNotOurs:
    case engine::HypercallOutcome::kInvalidOpcode:
      vcpu_->InjectException(x86::Vector::kInvalidOpcode, 0);
      return;
    case engine::HypercallOutcome::kHalt:
      activity_ = Activity::kHalted;
      return;
    case engine::HypercallOutcome::kServed:
    case engine::HypercallOutcome::kExit:
      return;
  }
}

void VcpuThread::TellStealTime() {
  uint64_t now = shared_.clock.Ticks();
  if (now - steal_told_ < shared_.clock.frequency() / kStealUpdatesPerSecond) return;
  steal_told_ = now;
  pv_clock_.UpdateStealTime(run_delay_->Nanoseconds());
}

// ---- engine::VcpuHost ----

uint64_t VcpuThread::ReadMmio(uint64_t gpa, unsigned size) {
  return shared_.platform.ReadMmio(index_, gpa, size);
}
void VcpuThread::WriteMmio(uint64_t gpa, unsigned size, uint64_t value) {
  shared_.platform.WriteMmio(index_, gpa, size, value);
}
uint32_t VcpuThread::ReadPort(uint16_t port, unsigned size) {
  return shared_.platform.ReadPort(index_, port, size);
}
void VcpuThread::WritePort(uint16_t port, unsigned size, uint32_t value) {
  shared_.platform.WritePort(index_, port, size, value);
}
bool VcpuThread::ReadMsr(uint32_t index, uint64_t* value) {
  return pv_clock_.ReadMsr(index, value) || shared_.platform.ReadMsr(index_, index, value);
}
bool VcpuThread::WriteMsr(uint32_t index, uint64_t value) {
  return pv_clock_.WriteMsr(index, value) || shared_.platform.WriteMsr(index_, index, value);
}
std::optional<engine::CpuidLeaf> VcpuThread::HypervisorCpuid(uint32_t leaf) {
  return hypercall::HypervisorLeaf(leaf, run_delay_->available());
}
bool VcpuThread::InterruptPending() { return shared_.platform.InterruptPending(index_); }
// Interrupts are when a guest's kernel does its accounting, the tick's above all.
std::optional<uint8_t> VcpuThread::AcknowledgeInterrupt() {
  shared_.hypercalls->BeginEpoch(index_);
  if (pv_clock_.WantsStealTime()) TellStealTime();
  return shared_.platform.AcknowledgeInterrupt(index_);
}
bool VcpuThread::TakeNmi() { return shared_.platform.TakeNmi(index_); }
uint8_t VcpuThread::ReadTaskPriority() { return shared_.platform.ReadTaskPriority(index_); }
void VcpuThread::WriteTaskPriority(uint8_t priority) {
  shared_.platform.WriteTaskPriority(index_, priority);
}
engine::HypercallOutcome VcpuThread::OnHypercallInterrupt(engine::HypercallFrame& frame,
                                                          uint64_t gpa) {
  return shared_.hypercalls->OnHypercallInterrupt(index_, frame, gpa);
}
void* VcpuThread::ResolveLinkedSite(uint64_t gpa) {
  return shared_.hypercalls->ResolveLinkedSite(gpa);
}
engine::HypercallOutcome VcpuThread::OnLinkedHypercall(void* site, engine::HypercallFrame& frame) {
  return shared_.hypercalls->OnLinkedHypercall(index_, site, frame);
}
void VcpuThread::BeforeShadowedWrite(uint64_t gpa, uint64_t size) {
  shared_.hypercalls->BeforeShadowedWrite(gpa, size);
}
void VcpuThread::OverlayOriginal(uint64_t gpa, std::span<std::byte> bytes, bool fetch) {
  shared_.hypercalls->OverlayOriginal(gpa, bytes, fetch);
}

}  // namespace trapline::vm

// SPDX-License-Identifier: Apache-2.0
// The run loop: pass the gate, run the engine until an exit, hand the exit to whom it concerns, go
// round.
//
// A vCPU that has nothing to do (HLT, or waiting for a start-up IPI) sleeps on its doorbell inside
// the gate. Whoever gives it work rings: an interrupt controller through Attend, another vCPU
// through Init, Startup and Begin, an event through Upcalls, the VM through Nudge when it closes
// the gate. Each stores what it has to say before it rings, and the thread looks at everything
// after each ring, so no wake-up is lost.
//
// A paravirtual start takes two steps, since the new vCPU begins in the mode of the one that starts
// it, whose registers can be read only between two runs: the service claims the new vCPU and notes
// the start, which fixes the guest's answer; the starter's thread, out of Run, makes the registers
// and hands them over. All that happens within one stretch inside the gate.
#include "core/vm/vcpu_thread.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/hypercall/kvm_features.h"

namespace trapline::vm {
namespace {

// The state of a vCPU that another one starts in its own mode and address space.
x86::Registers StartedBy(const x86::Registers& starter, const hypercall::VcpuStart& start) {
  x86::Registers registers = x86::ResetState();
  registers.gpr = {};
  registers.gpr[x86::kRsp] = start.stack;
  registers.gpr[x86::kRdi] = start.argument;
  registers.rip = start.entry;
  registers.segment = starter.segment;
  // What these point to is mostly a CPU's own.
  registers.segment[x86::kFs].base = registers.segment[x86::kGs].base = 0;
  registers.gdtr = starter.gdtr;
  registers.idtr = {};
  registers.cr0 = starter.cr0;
  registers.cr3 = starter.cr3;
  registers.cr4 = starter.cr4;
  registers.efer = starter.efer;
  return registers;
}

}  // namespace

VcpuThread::VcpuThread(uint32_t index, VcpuShared shared)
    : index_(index),
      shared_(std::move(shared)),
      pv_clock_(shared_.services, shared_.clock.frequency()),
      upcalls_(shared_.memory, shared_.clock, shared_.platform.timers(), [this](bool interrupt) {
        if (interrupt) vcpu_->Kick();
        doorbell_.Ring();
      }) {}

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
  lost_ = false;
  claimed_ = boot_registers != nullptr;
  starts_.clear();
  {
    absl::MutexLock lock(&begin_mutex_);
    begin_.reset();
  }
  upcalls_.Reset();
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

void VcpuThread::Begin(const x86::Registers& registers) {
  {
    absl::MutexLock lock(&begin_mutex_);
    begin_ = std::make_unique<x86::Registers>(registers);
  }
  Nudge();
}

void VcpuThread::OnLost() {
  lost_ = true;
  doorbell_.Ring();
}

void VcpuThread::Main() {
  run_delay_.emplace();
  launched_.Notify();
  for (bool first = true; shared_.gate.Enter(); first = false) {
    if (first && shared_.on_thread) shared_.on_thread();
    Step();
    shared_.gate.Leave();
  }
}

void VcpuThread::Step() {
  TakeInitAndStartup();
  TakeStart();
  switch (activity_) {
    case Activity::kDead:
      doorbell_.Wait();
      return;
    case Activity::kWaitForStartup:
      if (lost_.exchange(false)) {
        Run();
      } else {
        doorbell_.Wait();
      }
      return;
    case Activity::kHalted:
      if (!HasWork()) {
        doorbell_.Wait();
        return;
      }
      activity_ = Activity::kRunning;
      shared_.hypercalls->BeginEpoch(index_);
      [[fallthrough]];
    case Activity::kRunning:
      if (auto status = upcalls_.DeliverEvent(*vcpu_); !status.ok()) {
        Die(absl::StrCat("double fault: an event, and ", status.message()));
        return;
      }
      Run();
  }
}

bool VcpuThread::HasWork() {
  return shared_.platform.HasWork(index_) || unhalted_.exchange(false) || upcalls_.EventPending() ||
         lost_.exchange(false);
}

void VcpuThread::Run() {
  HandleExit(vcpu_->Run());
  StartOthers();
}

void VcpuThread::StartOthers() {
  if (starts_.empty()) return;
  const x86::Registers registers = vcpu_->GetRegisters();
  for (const hypercall::VcpuStart& start : std::exchange(starts_, {}))
    shared_.start(start.vcpu, StartedBy(registers, start));
}

void VcpuThread::TakeStart() {
  if (activity_ != Activity::kWaitForStartup) return;
  std::unique_ptr<x86::Registers> registers;
  {
    absl::MutexLock lock(&begin_mutex_);
    registers = std::move(begin_);
  }
  if (!registers) return;
  claimed_ = true;  // an INIT since may have taken the claim back
  vcpu_->SetRegisters(*registers);
  activity_ = Activity::kRunning;
}

// INIT puts a processor into the wait-for-SIPI state; the first start-up IPI there starts it, later
// ones are ignored (SDM volume 3, section 8.4.2).
void VcpuThread::TakeInitAndStartup() {
  if (init_pending_.exchange(false)) {
    activity_ = Activity::kWaitForStartup;
    claimed_ = false;
    upcalls_.Reset();
    shared_.platform.InitApic(index_);
    vcpu_->SetRegisters(x86::ResetState());
  }
  int vector = startup_vector_.exchange(kNoStartup);
  if (vector == kNoStartup || activity_ != Activity::kWaitForStartup || !ClaimStart()) return;
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
    case engine::ExitReason::kException:
      HandleException(exit.exception);
      return;
    case engine::ExitReason::kShutdown:
      Die(absl::StrCat("triple fault: ", DescribeException(exit.exception)));
      return;
    case engine::ExitReason::kFailure:
      Die(absl::StrCat(exit.failure, "; last seen"));
      return;
  }
}

void VcpuThread::HandleException(const engine::Exit::Exception& exception) {
  if (!upcalls_.registered()) {
    Die(DescribeException(exception));
    return;
  }
  auto status = upcalls_.DeliverException(*vcpu_, exception);
  if (!status.ok()) {
    Die(absl::StrCat("double fault: ", DescribeException(exception), ", and ", status.message()));
  }
}

void VcpuThread::Die(std::string_view what) {
  activity_ = Activity::kDead;
  shared_.on_dead(ReportFault({index_, *vcpu_, shared_.memory, shared_.symbolize}, what));
}

void VcpuThread::HandleTrap(const engine::Exit::Trap& trap) {
  switch (shared_.hypercalls->OnTrap(index_, *vcpu_, trap)) {
    case engine::HypercallOutcome::kNotOurs:
    case engine::HypercallOutcome::kInvalidOpcode:
      if (upcalls_.registered()) return HandleException({.vector = x86::Vector::kInvalidOpcode});
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
  shared_.hypercalls->BeforeShadowedWrite(index_, gpa, size);
}
void VcpuThread::OverlayOriginal(uint64_t gpa, std::span<std::byte> bytes, bool fetch) {
  shared_.hypercalls->OverlayOriginal(gpa, bytes, fetch);
}

}  // namespace trapline::vm

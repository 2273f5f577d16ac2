// SPDX-License-Identifier: Apache-2.0
// Upcalls: how a paravirtual guest is told of exceptions and events without an IDT or an APIC, in
// lguest's and Xen's way.
//
// Two words in the guest's own RAM carry it (trapline_vcpu_info): `pending`, to which the host adds
// bits at any time, and `masked`, the guest's interrupt flag turned round. An upcall is a frame on
// the guest's stack and a jump to its entry; it is made by the vCPU's own thread between two runs,
// so an engine need know nothing of it.
//
//   host, any thread            vCPU thread, before Run          guest
//   H1 pending |= bit           V1 pending != 0?                 G1 bits = exchange(pending, 0)
//   H2 ring the doorbell        V2 exchange(masked, 1) == 0?     G2 handle them
//   H3 masked == 0? kick        V3 push the frame, run           G3 masked = 0, then a fence
//                                                                G4 pending != 0? masked = 1,
//                                                                   back to G1
//
// Why no event is lost. H1 comes before H3 and G3 before G4, all four in one order that every
// thread agrees on. If H3 finds masked set, then G3 is still to come, and G4 sees the bit. If H3
// finds it clear, the vCPU is kicked out of Run and passes V1 before it runs again. An event that
// comes while V2 sees masked set is the first case. The guest that waits with events masked
// (mask, look, WAIT) cannot sleep through one either: its thread looks at pending before it sleeps
// on the doorbell, and a ring that comes between the look and the sleep stays rung (doorbell.h).
// Waking too often is harmless: every waker is followed by a look at pending.
//
// The guest may scribble over both words whenever it likes and hand in any RAM. It then loses its
// own events or gets upcalls that it did not expect; the host reads each word once and uses neither
// as an address. The mutex keeps Register and Raise apart, so that no bit is written into memory
// that the guest has taken back. What is raised before there is an info stays in raised_.
//
// The timer. The queue may be about to call OnTimer while the guest sets another deadline or the VM
// is reset; so OnTimer believes deadline_, not the call.
#include "core/vm/upcalls.h"

#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/vm/disassembler.h"
#include "core/vm/linear_memory.h"
#include "core/x86/flags.h"

namespace trapline::vm {
namespace {

static_assert(sizeof(trapline_vcpu_info) == 64 && sizeof(trapline_upcall_frame) == 64);

// Deadlines behind this never come: 36 years, and still some in ticks of 64 bits.
constexpr uint64_t kFarthestDeadline = uint64_t{1} << 60;

// Events that the mechanism shares between host and guest, as both access them: in one order.
uint64_t Load(const volatile uint64_t& word) { return __atomic_load_n(&word, __ATOMIC_SEQ_CST); }

}  // namespace

Upcalls::Upcalls(machine::GuestMemory& memory, base::VmClock& clock, machine::TimerQueue& timers,
                 Wake wake)
    : memory_(memory),
      clock_(clock),
      timers_(timers),
      wake_(std::move(wake)),
      timer_(timers.Add([this] { OnTimer(); })) {}

// ---- What the guest asks for ----

bool Upcalls::Register(uint64_t entry, uint64_t info) {
  trapline_vcpu_info* words = nullptr;
  if (entry != 0 && info != 0) {
    words = reinterpret_cast<trapline_vcpu_info*>(memory_.FindWritable(info, sizeof *words));
    if (!words) return false;
  }
  {
    absl::MutexLock lock(&mutex_);
    entry_ = entry;
    info_ = words;
    bool interrupt;
    if (!PublishLocked(&interrupt)) return true;
  }
  wake_(true);  // the guest may have had bits set, too
  return true;
}

void Upcalls::SetTimer(uint64_t deadline) {
  bool due = deadline <= clock_.Nanoseconds();
  {
    absl::MutexLock lock(&mutex_);
    deadline_ = due || deadline > kFarthestDeadline ? kNever : deadline;
    if (deadline_ == kNever) {
      timers_.Disarm(timer_);
    } else {
      // Ticks are rounded down both ways: one more, and the guest's clock has reached it.
      timers_.Arm(timer_, clock_.NanosecondsToTicks(deadline) + 1);
    }
  }
  if (due) Raise(TRAPLINE_EVENT_TIMER);
}

void Upcalls::OnTimer() {
  {
    absl::MutexLock lock(&mutex_);
    if (clock_.Nanoseconds() < deadline_) return;  // it was set anew meanwhile, or taken back
    deadline_ = kNever;
  }
  Raise(TRAPLINE_EVENT_TIMER);
}

// ---- Events ----

bool Upcalls::PublishLocked(bool* interrupt) {
  trapline_vcpu_info* info = info_.load(std::memory_order_relaxed);
  if (!info) return false;
  __atomic_fetch_or(&info->pending, std::exchange(raised_, 0), __ATOMIC_SEQ_CST);
  *interrupt = Load(info->masked) == 0;
  return true;
}

void Upcalls::Raise(unsigned event) {
  bool interrupt;
  {
    absl::MutexLock lock(&mutex_);
    raised_ |= uint64_t{1} << event;
    if (!PublishLocked(&interrupt)) return;
  }
  wake_(interrupt);
}

bool Upcalls::EventPending() const {
  const trapline_vcpu_info* info = info_.load(std::memory_order_relaxed);
  return info && Load(info->pending) != 0;
}

// ---- Upcalls ----

absl::Status Upcalls::DeliverEvent(engine::Vcpu& vcpu) {
  if (!EventPending()) return absl::OkStatus();
  trapline_vcpu_info* info = info_.load(std::memory_order_relaxed);
  if (__atomic_exchange_n(&info->masked, 1, __ATOMIC_SEQ_CST) != 0) return absl::OkStatus();
  return Push(vcpu, TRAPLINE_UPCALL_EVENT, 0, 0);
}

absl::Status Upcalls::DeliverException(engine::Vcpu& vcpu,
                                       const engine::Exit::Exception& exception) {
  return Push(vcpu, static_cast<uint64_t>(exception.vector), exception.error_code,
              exception.address);
}

absl::Status Upcalls::Push(engine::Vcpu& vcpu, uint64_t vector, uint64_t error_code,
                           uint64_t address) {
  x86::Registers registers = vcpu.GetRegisters();
  if (CodeBits(registers) != 64) {
    return absl::FailedPreconditionError("the vCPU has left 64-bit mode");
  }
  const trapline_upcall_frame frame = {.vector = vector,
                                       .error_code = error_code,
                                       .address = address,
                                       .rip = registers.rip,
                                       .cs = registers.segment[x86::kCs].selector,
                                       .rflags = registers.rflags,
                                       .rsp = registers.gpr[x86::kRsp],
                                       .ss = registers.segment[x86::kSs].selector};
  uint64_t rsp = ((frame.rsp - TRAPLINE_UPCALL_RED_ZONE) & ~uint64_t{15}) - sizeof frame;
  auto written = WriteLinear(vcpu, memory_, rsp, std::as_bytes(std::span(&frame, 1)));
  if (!written.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the stack at 0x", absl::Hex(rsp), " cannot be written: ", written.message()));
  }
  if (registers.rflags & x86::rflags::kTf) {
    // Or a single-stepping guest would step into the handler of each step.
    vcpu.SetRflags(registers.rflags & ~x86::rflags::kTf);
  }
  vcpu.Frame().gpr[x86::kRsp] = rsp;
  vcpu.SetRip(entry_.load(std::memory_order_relaxed));
  return absl::OkStatus();
}

void Upcalls::Reset() {
  absl::MutexLock lock(&mutex_);
  entry_ = 0;
  info_ = nullptr;
  raised_ = 0;
  deadline_ = kNever;
  timers_.Disarm(timer_);
}

}  // namespace trapline::vm

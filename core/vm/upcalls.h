// SPDX-License-Identifier: Apache-2.0
// One vCPU's upcall: what the guest registered, the events that wait for it, its timer.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "core/base/vm_clock.h"
#include "core/engine/engine.h"
#include "core/guest/abi.h"
#include "core/machine/memory/guest_memory.h"
#include "core/machine/timer/timer_queue.h"

namespace trapline::vm {

// Raise, TakesEvents and registered may be called from any thread, all else belongs to the
// vCPU's own thread or to whoever has the gate closed.
class Upcalls {
 public:
  // What wakes the vCPU: rings its bell, and where interrupt is true makes it leave Run. Any
  // thread.
  using Wake = std::function<void(bool interrupt)>;

  // All outlive this, and timers has been stopped when it goes.
  Upcalls(machine::GuestMemory& memory, base::VmClock& clock, machine::TimerQueue& timers,
          Wake wake);

  // Services of the guest's (core/guest/abi.h). Register: false if info is not RAM; it is a
  // multiple of 64.
  bool Register(uint64_t entry, uint64_t info);
  void SetTimer(uint64_t deadline);

  // Makes an event pending and wakes the vCPU. One that comes before there is an info waits for it.
  void Raise(unsigned event);

  // True if the guest takes events: its upcall has an info.
  bool TakesEvents() const { return info_.load(std::memory_order_relaxed) != nullptr; }
  // True if the guest takes exceptions by upcall.
  bool registered() const { return entry_.load(std::memory_order_relaxed) != 0; }
  // True if the guest has to be told of an event, masked or not: no WAIT sleeps then.
  bool EventPending() const;

  // Makes the upcall for pending events unless they are masked. An error if the frame cannot be
  // written: why.
  absl::Status DeliverEvent(engine::Vcpu& vcpu);
  // Makes the upcall for an exception; registered() holds.
  absl::Status DeliverException(engine::Vcpu& vcpu, const engine::Exit::Exception& exception);

  // Forgets everything.
  void Reset();

 private:
  absl::Status Push(engine::Vcpu& vcpu, uint64_t vector, uint64_t error_code, uint64_t address);
  // Moves what was raised to the guest's info; whether an upcall is due. False: no info.
  bool PublishLocked(bool* interrupt) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnTimer();

  machine::GuestMemory& memory_;
  base::VmClock& clock_;
  machine::TimerQueue& timers_;
  const Wake wake_;
  machine::TimerQueue::Id timer_;
  // Written with mutex_ held, so that nobody writes to an info that was taken back.
  std::atomic<uint64_t> entry_{0};
  std::atomic<trapline_vcpu_info*> info_{nullptr};

  absl::Mutex mutex_;                            // before the timer queue's
  uint64_t raised_ ABSL_GUARDED_BY(mutex_) = 0;  // events without an info to put them into
  uint64_t deadline_ ABSL_GUARDED_BY(mutex_) = kNever;
  static constexpr uint64_t kNever = ~uint64_t{0};
};

}  // namespace trapline::vm

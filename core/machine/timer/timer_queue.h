// SPDX-License-Identifier: Apache-2.0
// Deadlines in guest time, and the thread that keeps them.
//
// All timers of a VM share one thread, which sleeps until the earliest deadline. Guest time stands
// still while the VM is paused (base::VmClock), and so do the timers; whoever starts the clock
// again calls Rearm.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/vm_clock.h"

namespace trapline::machine {

// Thread-safe.
class TimerQueue {
 public:
  using Id = uint64_t;

  explicit TimerQueue(base::VmClock& clock);
  ~TimerQueue();

  // Makes a timer that calls fire on the queue's thread, with no lock held, when its deadline has
  // come.
  Id Add(std::function<void()> fire);
  // Sets its deadline, in ticks of the clock; one in the past fires at once. Replaces the one
  // before.
  void Arm(Id id, uint64_t deadline);
  void Disarm(Id id);
  // Looks at the clock again, since it was started or stopped.
  void Rearm();
  // No timer fires from here on, and none is being served. Idempotent.
  void Stop();

 private:
  struct Timer {
    std::function<void()> fire;
    uint64_t deadline = kNever;
  };
  static constexpr uint64_t kNever = ~uint64_t{0};

  void Main();
  // The earliest armed timer, or null.
  Timer* EarliestLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  base::VmClock& clock_;
  absl::Mutex mutex_;
  absl::CondVar changed_;
  std::map<Id, Timer> timers_ ABSL_GUARDED_BY(mutex_);
  Id next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// What an idle vCPU thread sleeps on.
#pragma once

#include <atomic>

#include "absl/synchronization/mutex.h"

namespace trapline::vm {

// A bell that stays rung until it is heard. Thread-safe; one waiter.
class Doorbell {
 public:
  // Wakes the waiter, or the next one to come. Cheap where it is rung already.
  void Ring() {
    if (rung_.exchange(true)) return;
    absl::MutexLock lock(&mutex_);  // the waiter re-evaluates its condition when this is released
  }
  // Blocks until the bell was rung, and quietens it.
  void Wait() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](std::atomic<bool>* rung) { return rung->load(); }, &rung_));
    rung_ = false;
  }

 private:
  absl::Mutex mutex_;
  std::atomic<bool> rung_{false};
};

}  // namespace trapline::vm

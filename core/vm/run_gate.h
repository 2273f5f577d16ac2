// SPDX-License-Identifier: Apache-2.0
// The gate that every vCPU thread passes before it runs its guest for a stretch.
//
// A thread is inside between Enter and Leave. Closing the gate lets nobody in and, once the threads
// inside have been nudged out, leaves the VM still: registers and memory may then be read and
// changed by whoever closed it. Closings nest, so that a pause and a register read need not know of
// each other.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"

namespace trapline::vm {

// Thread-safe. Starts closed once.
class RunGate {
 public:
  // Blocks while the gate is closed. False: it was dismantled, the thread is to end.
  bool Enter() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &RunGate::PassableLocked));
    if (dismantled_) return false;
    ++inside_;
    return true;
  }
  void Leave() {
    absl::MutexLock lock(&mutex_);
    --inside_;
  }

  // Closes the gate, calls nudge (which makes threads inside leave soon), and waits until nobody is
  // inside. Not from a thread that is inside.
  void Close(absl::FunctionRef<void()> nudge) {
    {
      absl::MutexLock lock(&mutex_);
      ++closings_;
    }
    nudge();
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &RunGate::EmptyLocked));
  }
  // Takes one Close back.
  void Open() {
    absl::MutexLock lock(&mutex_);
    --closings_;
  }
  // Makes every Enter return false from now on.
  void Dismantle() {
    absl::MutexLock lock(&mutex_);
    dismantled_ = true;
  }

 private:
  bool PassableLocked() const { return closings_ == 0 || dismantled_; }
  bool EmptyLocked() const { return inside_ == 0; }

  absl::Mutex mutex_;
  uint32_t closings_ ABSL_GUARDED_BY(mutex_) = 1;
  uint32_t inside_ ABSL_GUARDED_BY(mutex_) = 0;
  bool dismantled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace trapline::vm

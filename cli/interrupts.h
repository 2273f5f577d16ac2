// SPDX-License-Identifier: Apache-2.0
// SIGINT, SIGTERM and SIGHUP end a command in good order.
//
// The signals are blocked in every thread and one thread waits for them, so that what runs on a
// signal is ordinary code: it may take locks and cancel calls. While a Guard lives, the first
// signal runs its action (cancel the stream, stop the VM that `run` made); a second one, or one
// with no guard, ends the process by the signal itself, so that a shell sees the truth. A signal
// that was ignored when the process started (nohup, a background job) stays ignored.
#pragma once

#include <csignal>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace trapline::cli {

class Interrupts {
 public:
  // Make it first thing in main: threads started earlier would not have the signals blocked.
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // One at a time. The action runs on another thread, at most once, and never after the guard is
  // gone.
  class Guard {
   public:
    Guard(Interrupts& interrupts, std::function<void()> action);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Interrupts& interrupts_;
  };

  // Whether a signal came (and its action has been started). Thread-safe.
  bool interrupted() const;

 private:
  void Wait();
  void OnSignal(int signal);

  sigset_t watched_;  // set once, before the waiter starts
  mutable absl::Mutex mutex_;
  std::function<void()> action_ ABSL_GUARDED_BY(mutex_);
  bool interrupted_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread waiter_;
};

}  // namespace trapline::cli

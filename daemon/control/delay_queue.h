// SPDX-License-Identifier: Apache-2.0
// What is to be done later, on a few threads that are there from the beginning: who has something
// to put right when threads have run out needs none.
#pragma once

#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace trapline::daemon {

// Thread-safe.
class DelayQueue {
 public:
  DelayQueue() = default;
  ~DelayQueue() { End(); }

  // Tasks are run from here on. RESOURCE_EXHAUSTED: there are no threads to be had.
  absl::Status Start();

  // Runs the task at that time, or soon after; never once the queue has ended.
  void At(absl::Time when, std::function<void()> task);
  // Drops what has not begun and waits for what has.
  void End();

 private:
  static constexpr int kThreads = 4;

  void Serve();

  absl::Mutex mutex_;
  std::multimap<absl::Time, std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace trapline::daemon

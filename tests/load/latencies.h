// SPDX-License-Identifier: Apache-2.0
// How long calls took, by what they were.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace trapline {

// Thread-safe.
class Latencies {
 public:
  using Clock = std::chrono::steady_clock;

  void Add(const std::string& what, Clock::duration took) {
    absl::MutexLock lock(&mutex_);
    took_[what].push_back(took);
  }
  // "GetVm: 1234 calls, median 1.2 ms, 99th percentile 3.4 ms, longest 5.6 ms", a line each.
  std::string Report() const;

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, std::vector<Clock::duration>> took_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline

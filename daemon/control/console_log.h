// SPDX-License-Identifier: Apache-2.0
// What a VM wrote to its console lately, for any number of readers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace trapline::daemon {

// Thread-safe. Positions count all bytes ever written.
class ConsoleLog {
 public:
  static constexpr size_t kCapacity = 256 << 10;

  void Append(std::string_view bytes);
  // Bytes behind *position, waiting up to timeout for some; moves it. *missed grows by those that
  // were gone already.
  std::string Read(uint64_t* position, absl::Duration timeout, uint64_t* missed);

 private:
  absl::Mutex mutex_;
  std::string bytes_ ABSL_GUARDED_BY(mutex_);
  uint64_t end_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace trapline::daemon

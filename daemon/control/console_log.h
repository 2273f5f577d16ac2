// SPDX-License-Identifier: Apache-2.0
// What a VM wrote to its console lately, for any number of readers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace trapline::daemon {

// Thread-safe. Positions count all bytes ever written.
class ConsoleLog {
 public:
  static constexpr size_t kCapacity = 256 << 10;

  void Append(std::string_view bytes);
  // At most so many bytes behind *position; moves it. *missed grows by those that were gone
  // already.
  std::string Read(uint64_t* position, size_t most, uint64_t* missed);
  // Has wake called after each Append, and not after Unfollow.
  void Follow(const void* reader, std::function<void()> wake);
  void Unfollow(const void* reader);

 private:
  absl::Mutex mutex_;
  std::string bytes_ ABSL_GUARDED_BY(mutex_);
  uint64_t end_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<const void*, std::function<void()>> readers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::daemon

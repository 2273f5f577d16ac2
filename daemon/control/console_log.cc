// SPDX-License-Identifier: Apache-2.0
// The console's recent bytes.
#include "daemon/control/console_log.h"

namespace trapline::daemon {

void ConsoleLog::Append(std::string_view bytes) {
  absl::MutexLock lock(&mutex_);
  bytes_.append(bytes);
  end_ += bytes.size();
  // Trimmed by halves, so that a byte is moved once on the average.
  if (bytes_.size() > 2 * kCapacity) bytes_.erase(0, bytes_.size() - kCapacity);
}

std::string ConsoleLog::Read(uint64_t* position, absl::Duration timeout, uint64_t* missed) {
  absl::MutexLock lock(&mutex_);
  auto more = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return end_ > *position; };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&more), timeout)) return "";
  uint64_t start = end_ - bytes_.size();
  if (*position < start) {
    *missed += start - *position;
    *position = start;
  }
  std::string out = bytes_.substr(*position - start);
  *position = end_;
  return out;
}

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// The console's recent bytes.
#include "daemon/control/console_log.h"

#include <utility>

namespace trapline::daemon {

void ConsoleLog::Append(std::string_view bytes) {
  absl::MutexLock lock(&mutex_);
  bytes_.append(bytes);
  end_ += bytes.size();
  // Trimmed by halves, so that a byte is moved once on the average.
  if (bytes_.size() > 2 * kCapacity) bytes_.erase(0, bytes_.size() - kCapacity);
  for (const auto& [reader, wake] : readers_) wake();
}

std::string ConsoleLog::Read(uint64_t* position, size_t most, uint64_t* missed) {
  absl::MutexLock lock(&mutex_);
  const uint64_t start = end_ - bytes_.size();
  if (*position < start) {
    *missed += start - *position;
    *position = start;
  }
  std::string out = bytes_.substr(*position - start, most);
  *position += out.size();
  return out;
}

void ConsoleLog::Follow(const void* reader, std::function<void()> wake) {
  absl::MutexLock lock(&mutex_);
  readers_[reader] = std::move(wake);
}

void ConsoleLog::Unfollow(const void* reader) {
  absl::MutexLock lock(&mutex_);
  readers_.erase(reader);
}

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// Three numbers in a line: time on a processor, time waiting for one, time slices.
#include "core/vm/run_delay.h"

#include <fcntl.h>

#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstring>

namespace trapline::vm {

RunDelay::RunDelay() {
  // Not by /proc/thread-self, which a worker in a root of its own does not have.
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", gettid());
  file_ = base::UniqueFd(open(path, O_RDONLY | O_CLOEXEC));
}

uint64_t RunDelay::Nanoseconds() const {
  char text[64];
  ssize_t size = file_.valid() ? pread(file_.get(), text, sizeof text, 0) : -1;
  if (size <= 0) return 0;
  const char* end = text + size;
  const auto* space = static_cast<const char*>(std::memchr(text, ' ', static_cast<size_t>(size)));
  uint64_t delay = 0;
  if (space) std::from_chars(space + 1, end, delay);
  return delay;
}

}  // namespace trapline::vm

// SPDX-License-Identifier: Apache-2.0
// How long the calling thread was ready to run and had no processor (Linux,
// Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat): what a guest calls steal time.
#pragma once

#include <cstdint>

#include "core/base/unique_fd.h"

namespace trapline::vm {

// For the thread that makes it.
class RunDelay {
 public:
  RunDelay();
  // False: the host's kernel does not account for it.
  bool available() const { return file_.valid(); }
  // Since the thread began.
  uint64_t Nanoseconds() const;

 private:
  base::UniqueFd file_;
};

}  // namespace trapline::vm

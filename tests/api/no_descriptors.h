// SPDX-License-Identifier: Apache-2.0
// A process that may open nothing more, as long as the object lives.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

namespace trapline::daemon {

class NoDescriptors {
 public:
  explicit NoDescriptors(pid_t pid);
  ~NoDescriptors();

 private:
  const pid_t pid_;
  rlimit before_{};
};

}  // namespace trapline::daemon

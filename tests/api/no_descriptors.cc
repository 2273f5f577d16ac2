// SPDX-License-Identifier: Apache-2.0
// The limit is what the process has.
#include "tests/api/no_descriptors.h"

#include <gtest/gtest.h>

#include "tests/load/process_use.h"

namespace trapline::daemon {

NoDescriptors::NoDescriptors(pid_t pid) : pid_(pid) {
  EXPECT_EQ(prlimit(pid, RLIMIT_NOFILE, nullptr, &before_), 0);
  rlimit none = before_;
  none.rlim_cur = UseOf(pid).descriptors;
  EXPECT_EQ(prlimit(pid, RLIMIT_NOFILE, &none, nullptr), 0);
}

NoDescriptors::~NoDescriptors() { EXPECT_EQ(prlimit(pid_, RLIMIT_NOFILE, &before_, nullptr), 0); }

}  // namespace trapline::daemon

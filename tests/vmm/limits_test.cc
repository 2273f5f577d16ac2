// SPDX-License-Identifier: Apache-2.0
// Resource limits.
#include "daemon/vmm/confinement/limits.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/vmm/child.h"

namespace trapline::daemon {
namespace {

rlimit Now(__rlimit_resource resource) {
  rlimit now{};
  getrlimit(resource, &now);
  return now;
}

TEST(LimitsTest, AreLowerAndStayWhatWasLowerAlready) {
  EXPECT_EQ(InChild([] {
              const rlimit few{50, 50};
              setrlimit(RLIMIT_NOFILE, &few);
              if (LowerLimits().state() != Measure::APPLIED) return 1;
              if (Now(RLIMIT_CORE).rlim_max != 0 || Now(RLIMIT_MEMLOCK).rlim_max != 0) return 2;
              return Now(RLIMIT_NOFILE).rlim_max == 50 && Now(RLIMIT_NOFILE).rlim_cur == 50 ? 0 : 3;
            }),
            0);
}

}  // namespace
}  // namespace trapline::daemon

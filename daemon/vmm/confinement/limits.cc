// SPDX-License-Identifier: Apache-2.0
// Only limits that are counted by process. That of processes (RLIMIT_NPROC) is not: it counts those
// of the user, other VMs' among them; the cgroup has one of its own (daemon/control/cgroup.cc). One
// of file size would also hold for guest RAM, which is a file.
#include "daemon/vmm/confinement/limits.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace trapline::daemon {
namespace {

constexpr char kName[] = "limits";
// A VM of 64 vCPUs on engine direct takes some 400.
constexpr rlim_t kDescriptors = 1024;

struct Limit {
  __rlimit_resource resource;
  const char* name;
  rlim_t most;
};
constexpr Limit kLimits[] = {{RLIMIT_CORE, "core files", 0},
                             {RLIMIT_NOFILE, "descriptors", kDescriptors},
                             {RLIMIT_MEMLOCK, "locked memory", 0},
                             {RLIMIT_MSGQUEUE, "message queues", 0},
                             {RLIMIT_RTPRIO, "real-time priority", 0}};

bool Lower(const Limit& limit) {
  rlimit now;
  if (getrlimit(limit.resource, &now) != 0) return false;
  now.rlim_max = std::min(now.rlim_max, limit.most);
  now.rlim_cur = std::min(now.rlim_cur, now.rlim_max);
  return setrlimit(limit.resource, &now) == 0;
}

}  // namespace

Measure LowerLimits() {
  for (const Limit& limit : kLimits) {
    if (!Lower(limit))
      return MakeMeasure(kName, Measure::UNAVAILABLE,
                         absl::StrCat("the limit of ", limit.name, ": ", strerror(errno)));
  }
  return MakeMeasure(kName, Measure::APPLIED,
                     absl::StrCat("no core files, locked memory, message queues or real-time "
                                  "priority; at most ",
                                  kDescriptors, " descriptors"));
}

}  // namespace trapline::daemon

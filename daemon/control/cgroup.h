// SPDX-License-Identifier: Apache-2.0
// A cgroup (version 2) for each worker, with the guest processes that it makes, where there is one
// for the daemon to divide.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "trapline/v1/vms.pb.h"

namespace trapline::daemon {

// What a worker may take of its host.
struct CgroupLimits {
  uint64_t memory_bytes;  // the guest's RAM, the stats file, and what the worker may come to need
  uint32_t processors;    // so many at a time
  uint32_t tasks;         // threads and processes
};
CgroupLimits LimitsFor(const v1::VmSpec& spec);

// The part of the tree that is the daemon's. Thread-safe once made.
class CgroupTree {
 public:
  // Finds where this process is and prepares that place for cgroups below it. Before there are
  // workers.
  static CgroupTree OfThisProcess();
  // One that somebody else has made for it, below the place where version 2 is mounted.
  static CgroupTree At(const std::string& path);
  // Hands the controllers of that cgroup down to those below it.
  static CgroupTree Below(const std::string& directory);

  // Makes that cgroup, limits it, and moves the process there.
  v1::Confinement::Measure Join(const std::string& name, pid_t pid,
                                const CgroupLimits& limits) const;
  // What the kernel killed in that cgroup for want of memory, to be said of the VM; empty: nothing.
  std::string OutOfMemory(const std::string& name) const;
  // With all that is left in it; nothing where there is none.
  void Remove(const std::string& name) const;

 private:
  std::string directory_;
  std::string missing_;  // why there is no directory
};

}  // namespace trapline::daemon

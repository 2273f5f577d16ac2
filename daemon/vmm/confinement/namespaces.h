// SPDX-License-Identifier: Apache-2.0
// Namespaces of the worker's own.
#pragma once

#include <string>
#include <vector>

#include "daemon/vmm/confinement/measure.h"

namespace trapline::daemon {

// Those that a process has left its parent's for. In a process of one thread.
class Namespaces {
 public:
  // Network, UTS and cgroup: new ones are empty, so that all workers forked from one process may
  // share them. A network takes longer to make than all the others.
  void LeaveShared();
  // User, mount and IPC, each worker's own. Behind LeaveShared.
  void LeaveOwn();
  // Whether mounts that are made now are seen by nobody else.
  bool has_mounts() const { return has_mounts_; }
  Measure measure() const;

 private:
  void Leave(int flags);

  int user_error_ = 0;                    // an errno: user namespaces are not to be had
  std::vector<std::string> left_, kept_;  // kept_: with the reason
  bool has_mounts_ = false;
};

}  // namespace trapline::daemon

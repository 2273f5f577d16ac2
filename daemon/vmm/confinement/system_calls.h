// SPDX-License-Identifier: Apache-2.0
// Which system calls the threads of a worker may make.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trapline::daemon {

// What a thread is about. Filters are inherited and only ever take away, so each lets through what
// those that follow it need.
enum class CallRole {
  kStarting,       // the process, from its start until the VM is made
  kServing,        // all threads from then on, engine soft
  kServingDirect,  // the same on engine direct, where a vCPU's thread makes guest processes
  kVcpu,           // a thread that runs a guest, engine soft
  kVcpuDirect,     // the same on engine direct
};
constexpr size_t kCallRoles = 5;

// The filter of one role, compiled.
class CallFilter {
 public:
  static absl::StatusOr<CallFilter> Compile(CallRole role);

  // From now on, for the calling thread and those that it starts, or for all threads of the
  // process. Needs no_new_privs. Not to be undone.
  absl::Status Install(bool all_threads) const;

 private:
  std::vector<sock_filter> program_;
};

// Has tgkill(2), which abort(3) is made of, reach this process alone. Filters of whole roles
// cannot, as they are compiled before there is a process. For the calling thread and those that it
// starts.
absl::Status KeepSignalsInside();

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// What each role needs of the kernel: the lists that filters are compiled from.
#pragma once

#include <seccomp.h>

#include <optional>
#include <vector>

#include "daemon/vmm/confinement/system_calls.h"

namespace trapline::daemon {

struct CallRule {
  int call;
  // Only with this argument; without it with any.
  std::optional<scmp_arg_cmp> argument;
};

struct CallList {
  std::vector<CallRule> allowed;
  // Refused with an error that the caller knows to live with, rather than by its end.
  struct Refusal {
    int call, error;
  };
  std::vector<Refusal> refused;
};

CallList CallsOf(CallRole role);

}  // namespace trapline::daemon

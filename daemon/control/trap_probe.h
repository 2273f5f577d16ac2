// SPDX-License-Identifier: Apache-2.0
// What hypercall instructions do in ring 3 of this machine, found out in a child process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trapline::daemon {

struct TrapResult {
  std::string instruction;
  std::string signal;  // "SIGILL"; empty: no signal, the instruction is silent
  uint64_t cycles;     // there and back, the median
};

// Takes a few milliseconds. Empty where no child can be made.
std::vector<TrapResult> ProbeTraps();

}  // namespace trapline::daemon

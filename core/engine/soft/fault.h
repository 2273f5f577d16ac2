// SPDX-License-Identifier: Apache-2.0
// A guest exception on its way from the instruction that raised it to the run loop, as a C++
// exception.
//
// Thrown and caught within core/engine/soft only. Faults are rare beside instructions, and a throw
// keeps the path without one free of checks.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/cycles.h"
#include "core/x86/exceptions.h"

namespace trapline::engine::soft {

struct Fault {
  x86::Vector vector;
  uint32_t error_code = 0;    // counts where x86::HasErrorCode(vector)
  uint64_t address = 0;       // page faults: the linear address for CR2
  bool noncanonical = false;  // becomes #SS where the operand went through SS
  uint64_t raised = 0;        // #UD: host cycles when, since it may be a hypercall
  bool trap = false;          // INT3, INTO, INT1: Cpu::rip stands behind the instruction already
};

// What the engine cannot go on with: ends the run with ExitReason::kFailure.
struct EngineFailure {
  std::string message;
};

[[noreturn]] inline void Raise(x86::Vector vector, uint32_t error_code = 0) {
  throw Fault{vector, error_code, 0, false, 0};
}
[[noreturn]] inline void RaiseGp(uint32_t error_code = 0) {
  Raise(x86::Vector::kGeneralProtection, error_code);
}
[[noreturn]] inline void RaiseUd() {
  throw Fault{x86::Vector::kInvalidOpcode, 0, 0, false, base::HostCycles()};
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// What is said of a vCPU that cannot go on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/engine/engine.h"
#include "core/machine/memory/guest_memory.h"

namespace trapline::vm {

struct FaultReport {
  // One line: "page fault (vector 14, error 0x6) writing 0x10 at main+0x1c, vCPU 1: mov dword ptr
  // [rax], 1".
  std::string line;
  // Registers and the code around RIP, several lines, each with its end.
  std::string details;
};

// "page fault (vector 14, error 0x6) writing 0x10".
std::string DescribeException(const engine::Exit::Exception& exception);

// The vCPU a report is about; it is not in Run.
struct FaultScene {
  uint32_t index;
  engine::Vcpu& vcpu;
  const machine::GuestMemory& memory;
  const std::function<std::string(uint64_t gva)>& symbolize;  // "name+0x12", empty if unknown
};

// what: what happened, in words that "at main+0x1c" may follow.
FaultReport ReportFault(const FaultScene& scene, std::string_view what);

}  // namespace trapline::vm

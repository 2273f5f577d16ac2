// SPDX-License-Identifier: Apache-2.0
// What a deprivileged kernel's privileged instructions do: those that fault in ring 3, as on
// lguest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/engine/direct/layout.h"
#include "core/engine/vcpu_host.h"
#include "core/x86/registers.h"

namespace trapline::engine::direct {

// One vCPU's state beyond the frame.
struct VirtualCpu {
  VcpuHost& host;
  uint32_t apic_id, vcpu_count;
  Frame& frame;
  x86::Registers& registers;  // control registers, EFER, IF, FS and GS base; not those in the frame
  bool bases_changed = false;
};

enum class Emulation { kDone, kHalt, kNotEmulated };

// Executes the instruction that code begins with and that raised #GP(0) at frame.rip: CLI, STI,
// HLT, IN, OUT, moves from and to control registers, RDMSR, WRMSR, CPUID. kNotEmulated: it is
// another one, or has operands that would fault in ring 0 as well; nothing was changed. code is
// untrusted.
Emulation EmulatePrivileged(std::span<const std::byte> code, VirtualCpu& cpu);

}  // namespace trapline::engine::direct

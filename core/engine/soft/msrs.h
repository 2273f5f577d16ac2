// SPDX-License-Identifier: Apache-2.0
// RDMSR and WRMSR (Intel SDM volume 4).
#pragma once

#include <cstdint>

#include "core/engine/soft/cpu.h"

namespace trapline::engine::soft {

// Throw #GP(0) for an MSR that neither the engine nor the host has, and for reserved values.
uint64_t ReadMsr(Cpu& cpu, uint32_t index);
void WriteMsr(Cpu& cpu, uint32_t index, uint64_t value);

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// What the software CPU says of itself (Intel SDM volume 2A, CPUID).
#pragma once

#include <cstdint>

#include "core/engine/soft/cpu.h"

namespace trapline::engine::soft {

CpuidLeaf CpuidOf(Cpu& cpu, uint32_t leaf, uint32_t subleaf);

}  // namespace trapline::engine::soft

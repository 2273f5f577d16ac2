// SPDX-License-Identifier: Apache-2.0
// The instructions by which a rewritten hypercall site enters the core.
#pragma once

#include <cstdint>

#include "core/engine/soft/op.h"

namespace trapline::engine::soft {

class Cpu;

// INT n through the guest's IDT; op->imm is the vector.
const Op* SoftwareInterrupt(Cpu& cpu, const Op* op);

// If op is `int $0x1f`, which stands at gpa: makes it offer itself to the core, or enter a linked
// site directly.
void BindHypercallSite(Cpu& cpu, uint64_t gpa, Op& op);

}  // namespace trapline::engine::soft

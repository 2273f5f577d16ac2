// SPDX-License-Identifier: Apache-2.0
// Interrupt and exception delivery, and the way back (Intel SDM volume 3, chapter 6).
#pragma once

#include <cstdint>

#include "core/engine/soft/cpu.h"

namespace trapline::engine::soft {

enum class Source {
  kExternal,   // an interrupt from a controller, or an NMI
  kException,  // a fault, trap or abort of the processor's
  kSoftware,   // INT n, INT3, INTO: the gate's DPL is checked
  kIcebp,      // INT1: like software, but no DPL check
};

struct Interruption {
  uint8_t vector;
  Source source;
  bool has_error_code = false;
  uint32_t error_code = 0;
};

// Goes through the IDT (or the real-mode table). cpu.rip is the return address. Throws the fault
// that a bad gate, stack or segment raises, with nothing changed.
void DeliverInterruption(Cpu& cpu, const Interruption& interruption);

// IRET with this operand size in bytes; sets cpu.rip.
void ReturnFromInterrupt(Cpu& cpu, unsigned operand_size);

}  // namespace trapline::engine::soft

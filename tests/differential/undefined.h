// SPDX-License-Identifier: Apache-2.0
// What the manual leaves open, so that two right processors may differ: the one place that says so.
#pragma once

#include <cstdint>
#include <span>

#include "tests/differential/instance.h"

namespace trapline::differential {

struct Undefined {
  uint64_t flags = 0;   // bits of RFLAGS
  bool result = false;  // the destination as well: nothing can be compared
  // RFLAGS where the instruction itself faulted.
  uint64_t flags_of_fault = 0;
  bool result_of_fault = false;  // where the instruction itself faulted, nothing can be compared
  bool fault_offset = false;     // where in its page a page fault was: operands of many accesses
  uint32_t upper_halves = 0;     // registers, by x86::Gpr, whose bits 32 to 63 do not count
  // Bytes of memory, from address on, that keep where the last x87 instruction and its operand
  // were: processors differ in when they record that.
  struct Bytes {
    uint64_t address, size;
  };
  Bytes memory[2] = {};
};

Undefined WhatIsUndefined(const Instance& instance);

// True if MXCSR.PE does not count after this exception: with an unmasked overflow or underflow it
// says whether the result would have been exact with a larger exponent, which engine `soft` does
// not find out (it runs the instruction with all exceptions masked).
bool PrecisionUndefined(uint8_t vector, uint32_t mxcsr);

// Clears in an FXSAVE image what describes the last x87 instruction, and the mask that each model
// has its own of.
void ClearUndefined(std::span<std::byte, kFxsaveSize> fxsave);

}  // namespace trapline::differential

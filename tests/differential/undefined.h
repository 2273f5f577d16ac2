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
  // Registers whose bits 32 to 63 may be kept or cleared where a repetition got no element done.
  uint32_t idle_upper_halves = 0;
  // Where the instruction itself faulted, it may have come as far as TOP 0 or all tags valid.
  bool mmx_transition_of_fault = false;
  // Bytes of memory, from address on, that keep where the last x87 instruction and its operand
  // were: processors differ in when they record that.
  struct Bytes {
    uint64_t address, size;
  };
  Bytes memory[2] = {};
  // The operand, where the instruction itself faulted: it may have been stored in part.
  Bytes memory_of_fault = {};
};

Undefined WhatIsUndefined(const Instance& instance);

// What two CPUs may report of an instruction where both are right.
enum class Reports : uint8_t {
  kTheSame,
  kTwoFaults,  // it had several faults, and each CPU has its own order: which one does not count
  // One faulted at the operand of a store, the other had an unmasked exception of the x87 unit
  // first, which withholds the store: nor does the status word, nor where each of them was then.
  kFaultOrWithheld,
};
Reports MayReport(const Instance& instance, const Outcome& native, const Outcome& soft);

// True if MXCSR.PE does not count after this exception: with an unmasked overflow or underflow it
// says whether the result would have been exact with a larger exponent, which engine `soft` does
// not find out (it runs the instruction with all exceptions masked).
bool PrecisionUndefined(uint8_t vector, uint32_t mxcsr);

// Clears in an FXSAVE image what describes the last x87 instruction, and the mask that each model
// has its own of.
void ClearUndefined(std::span<std::byte, kFxsaveSize> fxsave);

// Makes `soft`, if it has left TOP and tags alone, as far an MMX instruction's as `native` is.
void FollowMmxTransition(const State& in, const State& native, State* soft);

}  // namespace trapline::differential

// SPDX-License-Identifier: Apache-2.0
// The software CPU's state and the few primitives that every instruction handler is written with.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/engine/soft/block.h"
#include "core/engine/soft/fault.h"
#include "core/engine/soft/fpu/fpu_state.h"
#include "core/engine/soft/lazy_flags.h"
#include "core/engine/soft/op.h"
#include "core/engine/soft/tlb.h"
#include "core/engine/vcpu_host.h"
#include "core/x86/flags.h"
#include "core/x86/registers.h"

namespace trapline::engine::soft {

class Cpu {
 public:
  // --- State that handlers use directly ---
  uint64_t r[kSlotCount] = {};  // general registers, then RegisterSlot
  LazyFlags lazy;
  uint64_t rflags_rest;         // RFLAGS without the six arithmetic flags
  uint64_t rip;                 // valid in the dispatcher; within a block use RipOf
  FpuState fpu;                 // x87, MMX, XMM, MXCSR
  x86::Segment segment[x86::kSegmentCount];
  uint8_t cpl;
  Block* block = nullptr;       // the block that runs

  // --- Registers ---
  template <typename T>
  T Get(uint8_t offset) const {
    T value;
    std::memcpy(&value, reinterpret_cast<const char*>(r) + offset, sizeof value);
    return value;
  }
  // Writing 32 bits clears the upper half, as in 64-bit mode; smaller writes leave the rest.
  template <typename T>
  void Set(uint8_t offset, T value) {
    if constexpr (sizeof(T) == 4) {
      uint64_t wide = value;
      std::memcpy(reinterpret_cast<char*>(r) + offset, &wide, sizeof wide);
    } else {
      std::memcpy(reinterpret_cast<char*>(r) + offset, &value, sizeof value);
    }
  }

  uint64_t Rflags() const { return rflags_rest | lazy.Materialize(); }

  // --- Where we are ---
  uint64_t RipOf(const Op* op) const;      // of the instruction
  uint64_t NextRipOf(const Op* op) const;  // of the one behind it

  // --- Memory. Linear addresses; a fault is thrown, nothing is half done within one page ---
  uint64_t Address(const Op* op) const;  // linear address of op's memory operand, segment checks for reads included
  template <typename T>
  T Load(uint64_t linear);
  template <typename T>
  void Store(uint64_t linear, T value);
};

}  // namespace trapline::engine::soft

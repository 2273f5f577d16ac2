// SPDX-License-Identifier: Apache-2.0
// Operand access as integer handlers see it: where a memory operand is, and the places a second
// operand comes from.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/engine/soft/cpu.h"
#include "core/engine/soft/decode/forms.h"
#include "core/engine/soft/op.h"

namespace trapline::engine::soft {

// Linear address of op's memory operand, which T bytes are read from.
template <Addressing A, typename T>
uint64_t ReadAddress(Cpu& cpu, const Op* op) {
  if constexpr (A == Addressing::kBase) {
    return cpu.Get<uint64_t>(op->base) + static_cast<uint64_t>(op->disp);
  } else if constexpr (A == Addressing::kIndexed) {
    return cpu.Get<uint64_t>(op->base) + (cpu.Get<uint64_t>(op->index) << op->scale) +
           cpu.Get<uint64_t>(op->segment_base) + static_cast<uint64_t>(op->disp);
  } else {
    return cpu.Address(op, sizeof(T));
  }
}

// Likewise for T bytes that are written, or read and then written.
template <Addressing A, typename T>
uint64_t WriteAddress(Cpu& cpu, const Op* op) {
  if constexpr (A == Addressing::kChecked) {
    return cpu.AddressForWrite(op, sizeof(T));
  } else {
    return ReadAddress<A, T>(cpu, op);
  }
}

// Sources of a second operand.
struct FromReg {
  template <typename T>
  static T Get(Cpu& cpu, const Op* op) {
    return cpu.Get<T>(op->reg);
  }
};
struct FromRm {
  template <typename T>
  static T Get(Cpu& cpu, const Op* op) {
    return cpu.Get<T>(op->rm);
  }
};
struct FromImm {
  template <typename T>
  static T Get(Cpu&, const Op* op) {
    return static_cast<T>(op->imm);
  }
};
template <Addressing A>
struct FromMemory {
  template <typename T>
  static T Get(Cpu& cpu, const Op* op) {
    return cpu.Load<T>(ReadAddress<A, T>(cpu, op));
  }
};

// pick.template operator()<Source>() for a memory operand's addressing.
template <typename Pick>
Handler ByMemorySource(const Op& op, Pick pick) {
  return ByAddressing(op,
                      [&]<Addressing A>() { return pick.template operator()<FromMemory<A>>(); });
}

// An offset in a segment that an instruction implies.
inline uint64_t ReadAddressIn(Cpu& cpu, uint8_t segment, uint64_t offset, unsigned size) {
  return cpu.SegmentAddress(static_cast<x86::SegmentName>(segment), offset, Access::kRead, size);
}
inline uint64_t WriteAddressIn(Cpu& cpu, uint8_t segment, uint64_t offset, unsigned size) {
  return cpu.SegmentAddress(static_cast<x86::SegmentName>(segment), offset, Access::kWrite, size);
}

// A general-purpose register as an operand of 2, 4 or 8 bytes; 4 clear its upper half.
inline void SetSized(Cpu& cpu, uint8_t slot, unsigned size, uint64_t value) {
  switch (size) {
    case 2:
      cpu.Set<uint16_t>(slot, static_cast<uint16_t>(value));
      break;
    case 4:
      cpu.Set<uint32_t>(slot, static_cast<uint32_t>(value));
      break;
    default:
      cpu.Set<uint64_t>(slot, value);
  }
}

template <typename T>
constexpr unsigned kBits = sizeof(T) * 8;
template <typename T>
using Signed = std::make_signed_t<T>;

}  // namespace trapline::engine::soft

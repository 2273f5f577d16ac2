// SPDX-License-Identifier: Apache-2.0
// The stack as PUSH, CALL and their like see it (SDM volume 1, section 6.2): RSP alone in 64-bit
// mode; elsewhere SS with its base and limit, and as many bits of ESP as its B flag says.
#pragma once

#include <cstdint>

#include "core/engine/soft/cpu.h"
#include "core/engine/soft/decode/binding.h"

namespace trapline::engine::soft {

// 64-bit mode. A frame is worked on through local stack pointers, so that a fault half way leaves
// RSP alone.
struct FlatStack {
  static uint64_t Pointer(const Cpu& cpu) { return cpu.r[x86::kRsp]; }
  static void SetPointer(Cpu& cpu, uint64_t pointer) { cpu.r[x86::kRsp] = pointer; }
  static uint64_t Mask(const Cpu&) { return ~uint64_t{0}; }
  static uint64_t ForRead(Cpu&, uint64_t pointer, unsigned) { return pointer; }
  static uint64_t ForWrite(Cpu&, uint64_t pointer, unsigned) { return pointer; }
};

struct SegmentedStack {
  static bool Wide(const Cpu& cpu) {
    return cpu.segment[x86::kSs].attributes & x86::segment_attribute::kDefault32;
  }
  static uint64_t Mask(const Cpu& cpu) { return Wide(cpu) ? 0xffffffff : 0xffff; }
  static uint64_t Pointer(const Cpu& cpu) { return cpu.r[x86::kRsp] & Mask(cpu); }
  static void SetPointer(Cpu& cpu, uint64_t pointer) {
    constexpr uint8_t kSp = SlotOffset(x86::kRsp);
    if (Wide(cpu)) {
      cpu.Set<uint32_t>(kSp, static_cast<uint32_t>(pointer));
    } else {
      cpu.Set<uint16_t>(kSp, static_cast<uint16_t>(pointer));
    }
  }
  static uint64_t ForRead(Cpu& cpu, uint64_t pointer, unsigned size) {
    return cpu.SegmentAddress(x86::kSs, pointer & Mask(cpu), Access::kRead, size);
  }
  static uint64_t ForWrite(Cpu& cpu, uint64_t pointer, unsigned size) {
    return cpu.SegmentAddress(x86::kSs, pointer & Mask(cpu), Access::kWrite, size);
  }
};

// Writes below *pointer and moves it.
template <typename T, typename Stack>
void PushAt(Cpu& cpu, uint64_t* pointer, T value) {
  uint64_t below = *pointer - sizeof(T);
  cpu.Store<T>(Stack::ForWrite(cpu, below, sizeof(T)), value);
  *pointer = below;
}

template <typename T, typename Stack>
T PopAt(Cpu& cpu, uint64_t* pointer) {
  T value = cpu.Load<T>(Stack::ForRead(cpu, *pointer, sizeof(T)));
  *pointer += sizeof(T);
  return value;
}

template <typename T, typename Stack>
void Push(Cpu& cpu, T value) {
  uint64_t pointer = Stack::Pointer(cpu);
  PushAt<T, Stack>(cpu, &pointer, value);
  Stack::SetPointer(cpu, pointer);
}

// pick.template operator()<T, Stack>() by operand size and code size.
template <typename Pick>
Handler ByStack(const DecodeContext& context, unsigned size, Pick pick) {
  bool flat = context.code_size == 8;
  if (size == 8 && flat) return pick.template operator()<uint64_t, FlatStack>();
  if (size == 4 && !flat) return pick.template operator()<uint32_t, SegmentedStack>();
  if (size == 2 && flat) return pick.template operator()<uint16_t, FlatStack>();
  if (size == 2) return pick.template operator()<uint16_t, SegmentedStack>();
  return nullptr;
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Binds x87, MMX, SSE and SSE2 instructions: by instruction set, not one by one.
#include <array>
#include <span>

#include "core/engine/soft/decode/binding.h"
#include "core/engine/soft/fpu/bind.h"

namespace trapline::engine::soft {
namespace {

bool Bind(const Instruction& instruction, Op& op) {
  if (op.flags & kOpLock) return false;
  if (BindFpuState(instruction, op)) return true;
  // x87 grew over the years: FCMOV and FCOMI have instruction sets of their own.
  if (instruction.info.meta.isa_ext == ZYDIS_ISA_EXT_X87) return BindFull(instruction, op);
  switch (instruction.info.meta.isa_set) {
    case ZYDIS_ISA_SET_PENTIUMMMX:
      return BindFull(instruction, op);
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
      return BindVectorMove(instruction, op) || BindVector(instruction, op) ||
             BindFull(instruction, op);
    default:
      return false;
  }
}

}  // namespace

std::span<const Binding> FpuBindings() {
  static const auto bindings = [] {
    std::array<Binding, ZYDIS_MNEMONIC_MAX_VALUE + 1> all;
    for (size_t i = 0; i < all.size(); ++i) all[i] = {static_cast<ZydisMnemonic>(i), Bind, 0};
    return all;
  }();
  return bindings;
}

}  // namespace trapline::engine::soft

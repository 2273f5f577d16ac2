// SPDX-License-Identifier: Apache-2.0
// Operand forms of integer instructions, and the step from run-time sizes to templates that binders
// are written with.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>

#include "core/engine/soft/decode/binding.h"
#include "core/engine/soft/op.h"

namespace trapline::engine::soft {

// R: general register, M: memory, I: immediate, in the order of the operands. A third operand is
// the binder's affair.
enum class Form : uint8_t { kNone, kR, kM, kI, kRR, kRM, kMR, kRI, kMI, kOther };

// Tells the form and puts registers where the handlers of integer groups look for them: op.reg is
// the first register operand, op.rm the second one (only kRR has it). kOther where a register is
// none of the sixteen general ones.
Form Arrange(const Instruction& instruction, Op& op);

// Byte offset into Cpu::r of a general register, AH..BH included.
uint8_t GprOffset(ZydisRegister reg);
bool IsGpr(ZydisRegister reg);

// Where a memory operand's linear address comes from, so that the common ones cost no more than
// they must.
enum class Addressing : uint8_t {
  kBase,     // r[base] + disp (absolute and RIP-relative too)
  kIndexed,  // all four terms
  kChecked,  // legacy segmentation or a narrow address size: Cpu::Address
};

inline Addressing AddressingOf(const Op& op) {
  constexpr uint8_t kZero = SlotOffset(kSlotZero);
  if (op.checked_segment) return Addressing::kChecked;
  return op.index == kZero && op.segment_base == kZero ? Addressing::kBase : Addressing::kIndexed;
}

// pick.template operator()<A>() for op's addressing.
template <typename Pick>
Handler ByAddressing(const Op& op, Pick pick) {
  switch (AddressingOf(op)) {
    case Addressing::kBase:
      return pick.template operator()<Addressing::kBase>();
    case Addressing::kIndexed:
      return pick.template operator()<Addressing::kIndexed>();
    default:
      return pick.template operator()<Addressing::kChecked>();
  }
}

// pick.template operator()<T>() with the unsigned integer of that many bytes; null for any other.
template <typename Pick>
Handler BySize(unsigned bytes, Pick pick) {
  switch (bytes) {
    case 1:
      return pick.template operator()<uint8_t>();
    case 2:
      return pick.template operator()<uint16_t>();
    case 4:
      return pick.template operator()<uint32_t>();
    case 8:
      return pick.template operator()<uint64_t>();
    default:
      return nullptr;
  }
}

// Likewise for instructions that have no byte form.
template <typename Pick>
Handler ByWideSize(unsigned bytes, Pick pick) {
  switch (bytes) {
    case 2:
      return pick.template operator()<uint16_t>();
    case 4:
      return pick.template operator()<uint32_t>();
    case 8:
      return pick.template operator()<uint64_t>();
    default:
      return nullptr;
  }
}

// Installs a handler; false (the form is refused) where there is none.
inline bool Install(Op& op, Handler handler) {
  op.run = handler;
  return handler != nullptr;
}

}  // namespace trapline::engine::soft

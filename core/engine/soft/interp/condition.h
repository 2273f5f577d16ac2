// SPDX-License-Identifier: Apache-2.0
// The sixteen conditions of Jcc, SETcc and CMOVcc, by their encoding (SDM volume 1, appendix B).
#pragma once

#include <cstdint>
#include <optional>

#include "core/engine/soft/decode/binding.h"
#include "core/engine/soft/lazy_flags.h"
#include "core/engine/soft/op.h"

namespace trapline::engine::soft {

enum class Condition : uint8_t {
  kOverflow,
  kNoOverflow,
  kBelow,
  kNotBelow,
  kEqual,
  kNotEqual,
  kNotAbove,
  kAbove,
  kSign,
  kNoSign,
  kParity,
  kNoParity,
  kLess,
  kNotLess,
  kNotGreater,
  kGreater,
};
constexpr unsigned kConditionCount = 16;

template <Condition C>
bool Holds(const LazyFlags& flags) {
  constexpr bool kNegated = static_cast<uint8_t>(C) & 1;
  bool holds;
  switch (static_cast<Condition>(static_cast<uint8_t>(C) & ~1)) {
    case Condition::kOverflow:
      holds = flags.Overflow();
      break;
    case Condition::kBelow:
      holds = flags.Carry();
      break;
    case Condition::kEqual:
      holds = flags.Zero();
      break;
    case Condition::kNotAbove:
      holds = (int{flags.Carry()} | int{flags.Zero()}) != 0;  // without a branch
      break;
    case Condition::kSign:
      holds = flags.Sign();
      break;
    case Condition::kParity:
      holds = flags.Parity();
      break;
    case Condition::kLess:
      holds = flags.Less();
      break;
    default:
      holds = (int{flags.Less()} | int{flags.Zero()}) != 0;
      break;
  }
  return holds != kNegated;
}

// The condition of a Jcc, SETcc or CMOVcc: the low four bits of its opcode.
inline Condition ConditionOf(const Instruction& instruction) {
  return static_cast<Condition>(instruction.info.opcode & 0xf);
}

// pick.template operator()<C>() for a condition known at run time.
template <typename Pick>
Handler ByCondition(Condition condition, Pick pick) {
  switch (condition) {
    case Condition::kOverflow:
      return pick.template operator()<Condition::kOverflow>();
    case Condition::kNoOverflow:
      return pick.template operator()<Condition::kNoOverflow>();
    case Condition::kBelow:
      return pick.template operator()<Condition::kBelow>();
    case Condition::kNotBelow:
      return pick.template operator()<Condition::kNotBelow>();
    case Condition::kEqual:
      return pick.template operator()<Condition::kEqual>();
    case Condition::kNotEqual:
      return pick.template operator()<Condition::kNotEqual>();
    case Condition::kNotAbove:
      return pick.template operator()<Condition::kNotAbove>();
    case Condition::kAbove:
      return pick.template operator()<Condition::kAbove>();
    case Condition::kSign:
      return pick.template operator()<Condition::kSign>();
    case Condition::kNoSign:
      return pick.template operator()<Condition::kNoSign>();
    case Condition::kParity:
      return pick.template operator()<Condition::kParity>();
    case Condition::kNoParity:
      return pick.template operator()<Condition::kNoParity>();
    case Condition::kLess:
      return pick.template operator()<Condition::kLess>();
    case Condition::kNotLess:
      return pick.template operator()<Condition::kNotLess>();
    case Condition::kNotGreater:
      return pick.template operator()<Condition::kNotGreater>();
    default:
      return pick.template operator()<Condition::kGreater>();
  }
}

}  // namespace trapline::engine::soft

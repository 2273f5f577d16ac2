// SPDX-License-Identifier: Apache-2.0
// Handlers for an instruction that sets flags and the Jcc behind it, executed as one Op.
//
// A binder whose instruction can be fused leaves a FusedHandlers in Op::aux. Fuse
// (decode/decoder.h) then swaps the handler for the one with the jump's condition, puts the jump's
// target into Op::imm, where Cpu::Link looks for it, and where the first instruction has an
// immediate of its own moves that to Op::aux.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/engine/soft/interp/condition.h"
#include "core/engine/soft/op.h"

namespace trapline::engine::soft {

struct FusedHandlers {
  std::array<Handler, kConditionCount> by_condition;
  bool has_immediate;
};

template <bool kHasImmediate, typename Pick>
constexpr FusedHandlers MakeFused(Pick pick) {
  return [&]<size_t... I>(std::index_sequence<I...>) {
    return FusedHandlers{{pick.template operator()<static_cast<Condition>(I)>()...}, kHasImmediate};
  }
  (std::make_index_sequence<kConditionCount>{});
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// All system instructions in one table, and the moves that share a mnemonic with ordinary ones.
#include <vector>

#include "core/engine/soft/interp/system.h"

namespace trapline::engine::soft {

std::span<const Binding> SystemBindings() {
  static const std::vector<Binding> all = [] {
    std::vector<Binding> bindings;
    for (auto group : {ControlBindings(), TransferBindings(), PortBindings()}) {
      bindings.insert(bindings.end(), group.begin(), group.end());
    }
    return bindings;
  }();
  return all;
}

bool BindSystemMove(const Instruction& instruction, Op& op) {
  for (unsigned i = 0; i < instruction.operands.size(); ++i) {
    if (instruction.IsRegister(i) &&
        ZydisRegisterGetClass(instruction.operands[i].reg.value) == ZYDIS_REGCLASS_SEGMENT) {
      return BindSegmentMove(instruction, op);
    }
  }
  return BindControlMove(instruction, op);
}

}  // namespace trapline::engine::soft

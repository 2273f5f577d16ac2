// SPDX-License-Identifier: Apache-2.0
// The groups of system instructions that SystemBindings is put together from.
#pragma once

#include <span>

#include "core/engine/soft/decode/binding.h"

namespace trapline::engine::soft {

inline bool IsGeneral(ZydisRegister reg) {
  ZydisRegisterClass register_class = ZydisRegisterGetClass(reg);
  return register_class >= ZYDIS_REGCLASS_GPR8 && register_class <= ZYDIS_REGCLASS_GPR64;
}

std::span<const Binding> ControlBindings();  // privileged state, MSRs, descriptor tables
std::span<const Binding>
TransferBindings();  // interrupts, far returns, system calls, far pointers, flags
std::span<const Binding> PortBindings();  // IN OUT INS OUTS

// MOV to and from control and debug registers.
bool BindControlMove(const Instruction& instruction, Op& op);
// MOV, PUSH and POP of segment registers.
bool BindSegmentMove(const Instruction& instruction, Op& op);

}  // namespace trapline::engine::soft

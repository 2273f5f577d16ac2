// SPDX-License-Identifier: Apache-2.0
// How instruction groups join the decoder: each exports a table that names, for a mnemonic, the
// function that picks the handler for the operand form at hand.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <span>

#include "core/engine/soft/op.h"

namespace trapline::engine::soft {

// The mode that instructions are decoded for. Part of a block's identity.
struct DecodeContext {
  uint8_t code_size = 8;  // CS attributes: 2 (16-bit code), 4 (32-bit) or 8 (64-bit)
};

// One instruction as the decoder found it, for a binder to choose by.
struct Instruction {
  const ZydisDecodedInstruction& info;
  std::span<const ZydisDecodedOperand> operands;  // the visible ones, in Intel order
  std::span<const ZydisDecodedOperand> all;       // those and the hidden ones behind them
  DecodeContext context;
  uint64_t rip;  // offset in CS of its first byte

  ZydisMnemonic mnemonic() const { return info.mnemonic; }
  bool IsMemory(unsigned i) const {
    return i < operands.size() && operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY;
  }
  bool IsRegister(unsigned i) const {
    return i < operands.size() && operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER;
  }
  bool IsImmediate(unsigned i) const {
    return i < operands.size() && operands[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  }
  // In bytes.
  unsigned Size(unsigned i) const { return operands[i].size / 8; }
  bool has_lock() const { return (info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0; }
};

// Sets op.run (and whatever else the handler wants) for an instruction whose generic fields are
// filled already:
//   base .. checked_segment, address_size  the memory operand, where there is one (kOpMemory is
//   set) operand_size  effective operand size in bytes reg, rm       register operands by where
//   they are encoded: reg is ModRM.reg, rm is ModRM.rm or the opcode's low
//                 bits. General registers as byte offsets into Cpu::r, all others (XMM, MMX, x87,
//                 segment, control, debug) as their number
//   imm           the (last) immediate, sign-extended where the instruction does so; a relative one
//   made absolute
// Returns false to refuse the form: the instruction then raises #UD when executed.
using Binder = bool (*)(const Instruction& instruction, Op& op);

enum BindingFlag : uint8_t {
  // Nothing may follow in its block: branches, mode changes, serialising instructions.
  kEndsBlock = 1 << 0,
};

struct Binding {
  ZydisMnemonic mnemonic;
  Binder bind;
  uint8_t flags = 0;  // BindingFlag
};

// The groups. A mnemonic that none of them lists raises #UD. Where two list it (MOVSD and CMPSD are
// string instructions and SSE2 ones, RET is near or far) the later one here is asked once the
// earlier one has refused.
std::span<const Binding> MoveBindings();
std::span<const Binding> StackBindings();
std::span<const Binding> ArithmeticBindings();
std::span<const Binding> MultiplyBindings();
std::span<const Binding> DecimalBindings();
std::span<const Binding> LogicBindings();
std::span<const Binding> ShiftBindings();
std::span<const Binding> BitBindings();
std::span<const Binding> ConditionBindings();
std::span<const Binding> BranchBindings();
std::span<const Binding> StringBindings();
std::span<const Binding> ExchangeBindings();
std::span<const Binding> FlagBindings();
std::span<const Binding> HintBindings();
std::span<const Binding>
SystemBindings();  // core/engine/soft: everything privileged, far, or about interrupts
std::span<const Binding> FpuBindings();  // core/engine/soft/fpu: x87, MMX, SSE

// Zydis has one mnemonic for some instructions of different groups; the group that lists it hands
// these on. MOV, PUSH and POP with a segment, control or debug register.
bool BindSystemMove(const Instruction& instruction, Op& op);
// JMP and CALL through a far pointer.
bool BindFarBranch(const Instruction& instruction, Op& op);

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// SETcc and CMOVcc (SDM volume 2).
#include "core/engine/soft/interp/condition.h"

#include "core/engine/soft/interp/access.h"

namespace trapline::engine::soft {
namespace {

template <Condition C>
const Op* SetRegister(Cpu& cpu, const Op* op) {
  cpu.Set<uint8_t>(op->reg, Holds<C>(cpu.lazy));
  return cpu.Then(op);
}

template <Condition C>
const Op* SetMemory(Cpu& cpu, const Op* op) {
  cpu.Store<uint8_t>(WriteAddress<Addressing::kChecked, uint8_t>(cpu, op), Holds<C>(cpu.lazy));
  return cpu.Next(op);
}

bool BindSet(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  return Install(op, ByCondition(ConditionOf(instruction), [&]<Condition C>() -> Handler {
                   return form == Form::kR ? SetRegister<C> : SetMemory<C>;
                 }));
}

// The source is read, and a 32-bit destination's upper half cleared, whether or not the condition
// holds.
template <Condition C, typename T, typename Source>
const Op* Move(Cpu& cpu, const Op* op) {
  T value = Source::template Get<T>(cpu, op);
  T old = cpu.Get<T>(op->reg);
  cpu.Set<T>(op->reg, Holds<C>(cpu.lazy) ? value : old);
  return cpu.Then(op);
}

bool BindMove(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  return Install(op, ByCondition(ConditionOf(instruction), [&]<Condition C>() {
                   return ByWideSize(instruction.Size(0), [&]<typename T>() -> Handler {
                     return form == Form::kRR ? Move<C, T, FromRm>
                                              : Move<C, T, FromMemory<Addressing::kChecked>>;
                   });
                 }));
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_SETO, BindSet},    {ZYDIS_MNEMONIC_SETNO, BindSet},
    {ZYDIS_MNEMONIC_SETB, BindSet},    {ZYDIS_MNEMONIC_SETNB, BindSet},
    {ZYDIS_MNEMONIC_SETZ, BindSet},    {ZYDIS_MNEMONIC_SETNZ, BindSet},
    {ZYDIS_MNEMONIC_SETBE, BindSet},   {ZYDIS_MNEMONIC_SETNBE, BindSet},
    {ZYDIS_MNEMONIC_SETS, BindSet},    {ZYDIS_MNEMONIC_SETNS, BindSet},
    {ZYDIS_MNEMONIC_SETP, BindSet},    {ZYDIS_MNEMONIC_SETNP, BindSet},
    {ZYDIS_MNEMONIC_SETL, BindSet},    {ZYDIS_MNEMONIC_SETNL, BindSet},
    {ZYDIS_MNEMONIC_SETLE, BindSet},   {ZYDIS_MNEMONIC_SETNLE, BindSet},
    {ZYDIS_MNEMONIC_CMOVO, BindMove},  {ZYDIS_MNEMONIC_CMOVNO, BindMove},
    {ZYDIS_MNEMONIC_CMOVB, BindMove},  {ZYDIS_MNEMONIC_CMOVNB, BindMove},
    {ZYDIS_MNEMONIC_CMOVZ, BindMove},  {ZYDIS_MNEMONIC_CMOVNZ, BindMove},
    {ZYDIS_MNEMONIC_CMOVBE, BindMove}, {ZYDIS_MNEMONIC_CMOVNBE, BindMove},
    {ZYDIS_MNEMONIC_CMOVS, BindMove},  {ZYDIS_MNEMONIC_CMOVNS, BindMove},
    {ZYDIS_MNEMONIC_CMOVP, BindMove},  {ZYDIS_MNEMONIC_CMOVNP, BindMove},
    {ZYDIS_MNEMONIC_CMOVL, BindMove},  {ZYDIS_MNEMONIC_CMOVNL, BindMove},
    {ZYDIS_MNEMONIC_CMOVLE, BindMove}, {ZYDIS_MNEMONIC_CMOVNLE, BindMove},
};

}  // namespace

std::span<const Binding> ConditionBindings() { return kBindings; }

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Near branches: Jcc, JMP, CALL, RET, LOOPcc, JrCXZ (SDM volume 2).
//
// Targets are checked before anything changes, so that a #GP finds the branch itself still to be
// done. In 64-bit mode a direct branch needs no check: its target is canonical wherever the branch
// itself is mapped, but for the last 2 GiB before the hole, where the fetch at the target raises
// the fault.
#include "core/engine/soft/interp/access.h"
#include "core/engine/soft/interp/condition.h"
#include "core/engine/soft/interp/stack.h"

namespace trapline::engine::soft {
namespace {

// FlatStack stands for 64-bit code, as it does for the stack.
template <typename Stack>
const Op* TakeDirect(Cpu& cpu, const Op* op) {
  if constexpr (std::is_same_v<Stack, SegmentedStack>) cpu.CheckBranchTarget(op->imm);
  return cpu.Taken(op);
}

template <Condition C, typename Stack>
const Op* JumpIf(Cpu& cpu, const Op* op) {
  return Holds<C>(cpu.lazy) ? TakeDirect<Stack>(cpu, op) : cpu.NotTaken(op);
}

bool BindJcc(const Instruction& instruction, Op& op) {
  bool flat = instruction.context.code_size == 8;
  op.reg = static_cast<uint8_t>(ConditionOf(instruction));  // for Fuse
  return Install(op, ByCondition(ConditionOf(instruction), [&]<Condition C>() -> Handler {
                   return flat ? JumpIf<C, FlatStack> : JumpIf<C, SegmentedStack>;
                 }));
}

template <typename T, typename Source>
const Op* JumpIndirect(Cpu& cpu, const Op* op) {
  uint64_t target = Source::template Get<T>(cpu, op);
  cpu.CheckBranchTarget(target);
  return cpu.Jump(op, target);
}

bool IsFar(const Instruction& instruction) {
  return instruction.info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

bool BindJmp(const Instruction& instruction, Op& op) {
  if (IsFar(instruction)) return BindFarBranch(instruction, op);
  bool flat = instruction.context.code_size == 8;
  Form form = Arrange(instruction, op);
  if (form == Form::kI)
    return Install(op, flat ? TakeDirect<FlatStack> : TakeDirect<SegmentedStack>);
  return Install(op, ByWideSize(op.operand_size, [&]<typename T>() -> Handler {
                   if (form == Form::kR) return JumpIndirect<T, FromReg>;
                   return JumpIndirect<T, FromMemory<Addressing::kChecked>>;
                 }));
}

template <typename T, typename Stack>
const Op* CallDirect(Cpu& cpu, const Op* op) {
  if constexpr (std::is_same_v<Stack, SegmentedStack>) cpu.CheckBranchTarget(op->imm);
  Push<T, Stack>(cpu, static_cast<T>(cpu.NextRipOf(op)));
  return cpu.Taken(op);
}

template <typename T, typename Stack, typename Source>
const Op* CallIndirect(Cpu& cpu, const Op* op) {
  uint64_t target = Source::template Get<T>(cpu, op);
  cpu.CheckBranchTarget(target);
  Push<T, Stack>(cpu, static_cast<T>(cpu.NextRipOf(op)));
  return cpu.Jump(op, target);
}

bool BindCall(const Instruction& instruction, Op& op) {
  if (IsFar(instruction)) return BindFarBranch(instruction, op);
  Form form = Arrange(instruction, op);
  return Install(op, ByStack(instruction.context, op.operand_size,
                             [&]<typename T, typename Stack>() -> Handler {
                               if (form == Form::kI) return CallDirect<T, Stack>;
                               if (form == Form::kR) return CallIndirect<T, Stack, FromReg>;
                               return CallIndirect<T, Stack, FromMemory<Addressing::kChecked>>;
                             }));
}

// imm: bytes of arguments to drop, 0 for the plain form.
template <typename T, typename Stack>
const Op* Return(Cpu& cpu, const Op* op) {
  uint64_t pointer = Stack::Pointer(cpu);
  uint64_t target = PopAt<T, Stack>(cpu, &pointer);
  cpu.CheckBranchTarget(target);
  Stack::SetPointer(cpu, pointer + op->imm);
  return cpu.Jump(op, target);
}

bool BindRet(const Instruction& instruction, Op& op) {
  if (IsFar(instruction)) return false;
  op.imm &= 0xffff;
  return Install(op,
                 ByStack(instruction.context, op.operand_size,
                         []<typename T, typename Stack>() -> Handler { return Return<T, Stack>; }));
}

enum class LoopKind : uint8_t { kAlways, kWhileEqual, kWhileNotEqual };

constexpr uint8_t kCounter = SlotOffset(x86::kRcx);

template <LoopKind K, typename Count, typename Stack>
const Op* Loop(Cpu& cpu, const Op* op) {
  auto count = static_cast<Count>(cpu.Get<Count>(kCounter) - 1);
  bool again =
      count != 0 && (K == LoopKind::kAlways || cpu.lazy.Zero() == (K == LoopKind::kWhileEqual));
  if constexpr (std::is_same_v<Stack, SegmentedStack>) {
    if (again) cpu.CheckBranchTarget(op->imm);
  }
  cpu.Set<Count>(kCounter, count);
  return again ? cpu.Taken(op) : cpu.NotTaken(op);
}

template <LoopKind K>
bool BindLoop(const Instruction& instruction, Op& op) {
  bool flat = instruction.context.code_size == 8;
  return Install(op, ByWideSize(op.address_size, [&]<typename Count>() -> Handler {
                   return flat ? Loop<K, Count, FlatStack> : Loop<K, Count, SegmentedStack>;
                 }));
}

template <typename Count, typename Stack>
const Op* JumpIfCounterZero(Cpu& cpu, const Op* op) {
  return cpu.Get<Count>(kCounter) == 0 ? TakeDirect<Stack>(cpu, op) : cpu.NotTaken(op);
}

bool BindCounterZero(const Instruction& instruction, Op& op) {
  bool flat = instruction.context.code_size == 8;
  return Install(op, ByWideSize(op.address_size, [&]<typename Count>() -> Handler {
                   return flat ? JumpIfCounterZero<Count, FlatStack>
                               : JumpIfCounterZero<Count, SegmentedStack>;
                 }));
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_JO, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JNO, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JB, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JNB, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JZ, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JNZ, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JBE, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JNBE, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JS, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JNS, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JP, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JNP, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JL, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JNL, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JLE, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JNLE, BindJcc, kEndsBlock},
    {ZYDIS_MNEMONIC_JMP, BindJmp, kEndsBlock},
    {ZYDIS_MNEMONIC_CALL, BindCall, kEndsBlock},
    {ZYDIS_MNEMONIC_RET, BindRet, kEndsBlock},
    {ZYDIS_MNEMONIC_LOOP, BindLoop<LoopKind::kAlways>, kEndsBlock},
    {ZYDIS_MNEMONIC_LOOPE, BindLoop<LoopKind::kWhileEqual>, kEndsBlock},
    {ZYDIS_MNEMONIC_LOOPNE, BindLoop<LoopKind::kWhileNotEqual>, kEndsBlock},
    {ZYDIS_MNEMONIC_JCXZ, BindCounterZero, kEndsBlock},
    {ZYDIS_MNEMONIC_JECXZ, BindCounterZero, kEndsBlock},
    {ZYDIS_MNEMONIC_JRCXZ, BindCounterZero, kEndsBlock},
};

}  // namespace

std::span<const Binding> BranchBindings() { return kBindings; }

}  // namespace trapline::engine::soft

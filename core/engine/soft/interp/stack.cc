// SPDX-License-Identifier: Apache-2.0
// PUSH, POP, PUSHA, POPA, ENTER and LEAVE (SDM volume 2).
#include "core/engine/soft/interp/stack.h"

#include "core/engine/soft/interp/access.h"

namespace trapline::engine::soft {
namespace {

template <typename T, typename Stack, typename Source>
const Op* PushValue(Cpu& cpu, const Op* op) {
  Push<T, Stack>(cpu, Source::template Get<T>(cpu, op));
  return cpu.Next(op);
}

template <typename T, typename Stack>
const Op* PopRegister(Cpu& cpu, const Op* op) {
  uint64_t pointer = Stack::Pointer(cpu);
  T value = PopAt<T, Stack>(cpu, &pointer);
  Stack::SetPointer(cpu, pointer);
  cpu.Set<T>(op->reg, value);
  return cpu.Then(op);
}

// An address that goes by rSP takes it as it is behind the pop.
template <typename T, typename Stack>
const Op* PopMemory(Cpu& cpu, const Op* op) {
  uint64_t old = cpu.r[x86::kRsp];
  uint64_t pointer = Stack::Pointer(cpu);
  T value = PopAt<T, Stack>(cpu, &pointer);
  Stack::SetPointer(cpu, pointer);
  try {
    cpu.Store<T>(WriteAddress<Addressing::kChecked, T>(cpu, op), value);
  } catch (const Fault&) {
    cpu.r[x86::kRsp] = old;
    throw;
  }
  return cpu.Next(op);
}

bool BindPush(const Instruction& instruction, Op& op) {
  uint8_t reg = op.reg, rm = op.rm;
  Form form = Arrange(instruction, op);
  if (form == Form::kOther) {
    op.reg = reg;
    op.rm = rm;
    return BindSystemMove(instruction, op);
  }
  return Install(op, ByStack(instruction.context, op.operand_size,
                             [&]<typename T, typename Stack>() -> Handler {
                               if (form == Form::kR) return PushValue<T, Stack, FromReg>;
                               if (form == Form::kI) return PushValue<T, Stack, FromImm>;
                               return PushValue<T, Stack, FromMemory<Addressing::kChecked>>;
                             }));
}

bool BindPop(const Instruction& instruction, Op& op) {
  uint8_t reg = op.reg, rm = op.rm;
  Form form = Arrange(instruction, op);
  if (form == Form::kOther) {
    op.reg = reg;
    op.rm = rm;
    return BindSystemMove(instruction, op);
  }
  return Install(
      op,
      ByStack(instruction.context, op.operand_size, [&]<typename T, typename Stack>() -> Handler {
        return form == Form::kR ? PopRegister<T, Stack> : PopMemory<T, Stack>;
      }));
}

template <typename T, typename Stack>
const Op* PushAll(Cpu& cpu, const Op* op) {
  uint64_t pointer = Stack::Pointer(cpu);
  for (unsigned i = 0; i < 8; ++i) PushAt<T, Stack>(cpu, &pointer, cpu.Get<T>(SlotOffset(i)));
  Stack::SetPointer(cpu, pointer);
  return cpu.Next(op);
}

template <typename T, typename Stack>
const Op* PopAll(Cpu& cpu, const Op* op) {
  uint64_t pointer = Stack::Pointer(cpu);
  T value[8];
  for (unsigned i = 8; i-- > 0;) value[i] = PopAt<T, Stack>(cpu, &pointer);
  for (unsigned i = 0; i < 8; ++i) {
    if (i != x86::kRsp) cpu.Set<T>(SlotOffset(i), value[i]);
  }
  Stack::SetPointer(cpu, pointer);
  return cpu.Then(op);
}

template <typename T, typename Stack>
const Op* Enter(Cpu& cpu, const Op* op) {
  unsigned allocate = op->imm & 0xffff, level = (op->imm >> 16) & 31;
  uint64_t pointer = Stack::Pointer(cpu), frame = cpu.r[x86::kRbp];
  PushAt<T, Stack>(cpu, &pointer, static_cast<T>(frame));
  uint64_t new_frame = pointer;
  for (unsigned i = 1; i < level; ++i) {
    frame -= sizeof(T);
    T outer = cpu.Load<T>(Stack::ForRead(cpu, frame, sizeof(T)));
    PushAt<T, Stack>(cpu, &pointer, outer);
  }
  if (level > 0) PushAt<T, Stack>(cpu, &pointer, static_cast<T>(new_frame));
  pointer -= allocate;
  // The CPU checks that the new top of the stack could be written.
  cpu.ReadModifyWrite<uint8_t>(Stack::ForWrite(cpu, pointer, 1), [](uint8_t a) { return a; });
  cpu.Set<T>(SlotOffset(x86::kRbp), static_cast<T>(new_frame));
  Stack::SetPointer(cpu, pointer);
  return cpu.Next(op);
}

template <typename T, typename Stack>
const Op* Leave(Cpu& cpu, const Op* op) {
  uint64_t pointer = cpu.r[x86::kRbp];
  T frame = PopAt<T, Stack>(cpu, &pointer);
  Stack::SetPointer(cpu, pointer);
  cpu.Set<T>(SlotOffset(x86::kRbp), frame);
  return cpu.Then(op);
}

bool BindEnter(const Instruction& instruction, Op& op) {
  return Install(op,
                 ByStack(instruction.context, op.operand_size,
                         []<typename T, typename Stack>() -> Handler { return Enter<T, Stack>; }));
}
bool BindLeave(const Instruction& instruction, Op& op) {
  return Install(op,
                 ByStack(instruction.context, op.operand_size,
                         []<typename T, typename Stack>() -> Handler { return Leave<T, Stack>; }));
}

// The opcodes of PUSHA and POPA mean nothing in 64-bit mode.
constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_PUSH, BindPush},
    {ZYDIS_MNEMONIC_POP, BindPop},
    {ZYDIS_MNEMONIC_PUSHA,
     [](const Instruction&, Op& op) { return Install(op, PushAll<uint16_t, SegmentedStack>); }},
    {ZYDIS_MNEMONIC_PUSHAD,
     [](const Instruction&, Op& op) { return Install(op, PushAll<uint32_t, SegmentedStack>); }},
    {ZYDIS_MNEMONIC_POPA,
     [](const Instruction&, Op& op) { return Install(op, PopAll<uint16_t, SegmentedStack>); }},
    {ZYDIS_MNEMONIC_POPAD,
     [](const Instruction&, Op& op) { return Install(op, PopAll<uint32_t, SegmentedStack>); }},
    {ZYDIS_MNEMONIC_ENTER, BindEnter},
    {ZYDIS_MNEMONIC_LEAVE, BindLeave},
};

}  // namespace

std::span<const Binding> StackBindings() { return kBindings; }

}  // namespace trapline::engine::soft

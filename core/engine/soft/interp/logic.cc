// SPDX-License-Identifier: Apache-2.0
// AND, OR, XOR, TEST and NOT (SDM volume 2).
#include "core/engine/soft/interp/alu.h"

namespace trapline::engine::soft {
namespace {

template <typename T>
const Op* NotRegister(Cpu& cpu, const Op* op) {
  cpu.Set<T>(op->reg, static_cast<T>(~cpu.Get<T>(op->reg)));
  return cpu.Then(op);
}

template <typename T, bool kLocked>
const Op* NotMemory(Cpu& cpu, const Op* op) {
  uint64_t linear = WriteAddress<Addressing::kChecked, T>(cpu, op);
  auto compute = [](T a) { return static_cast<T>(~a); };
  if constexpr (kLocked) {
    cpu.AtomicRmw<T>(linear, compute);
  } else {
    cpu.ReadModifyWrite<T>(linear, compute);
  }
  return cpu.Next(op);
}

bool BindNot(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  return Install(op, BySize(instruction.Size(0), [&]<typename T>() -> Handler {
                   if (form == Form::kR) return NotRegister<T>;
                   return op.flags & kOpLock ? NotMemory<T, true> : NotMemory<T, false>;
                 }));
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_AND, BindAlu<Alu::kAnd>},
    {ZYDIS_MNEMONIC_OR, BindAlu<Alu::kOr>},
    {ZYDIS_MNEMONIC_XOR, BindAlu<Alu::kXor>},
    {ZYDIS_MNEMONIC_TEST, BindAlu<Alu::kTest>},
    {ZYDIS_MNEMONIC_NOT, BindNot},
};

}  // namespace

std::span<const Binding> LogicBindings() { return kBindings; }

}  // namespace trapline::engine::soft

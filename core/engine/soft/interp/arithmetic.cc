// SPDX-License-Identifier: Apache-2.0
// ADD, ADC, SUB, SBB, CMP, INC, DEC and NEG (SDM volume 2).
#include "core/engine/soft/interp/alu.h"

namespace trapline::engine::soft {
namespace {

enum class Unary : uint8_t { kInc, kDec, kNeg };

template <Unary K, typename T>
T ComputeUnary(T a) {
  return K == Unary::kInc ? a + 1 : K == Unary::kDec ? a - 1 : -a;
}

template <Unary K, typename T>
void SetUnaryFlags(LazyFlags& lazy, T a) {
  T result = ComputeUnary<K, T>(a);
  if constexpr (K == Unary::kNeg) {
    lazy.Set<T>(LazyFlags::Kind::kSub, 0, a, result);
  } else {
    lazy.SetKeepingCarry<T>(K == Unary::kInc ? LazyFlags::Kind::kInc : LazyFlags::Kind::kDec, a,
                            result);
  }
}

template <Unary K, typename T>
void ChangeRegister(Cpu& cpu, const Op* op) {
  T a = cpu.Get<T>(op->reg);
  cpu.Set<T>(op->reg, ComputeUnary<K, T>(a));
  SetUnaryFlags<K, T>(cpu.lazy, a);
}

template <Unary K, typename T>
const Op* UnaryRegister(Cpu& cpu, const Op* op) {
  ChangeRegister<K, T>(cpu, op);
  return cpu.Then(op);
}

template <Unary K, typename T, Addressing A, bool kLocked>
const Op* UnaryMemory(Cpu& cpu, const Op* op) {
  uint64_t linear = WriteAddress<A, T>(cpu, op);
  T a;
  if constexpr (kLocked) {
    a = cpu.AtomicRmw<T>(linear, ComputeUnary<K, T>);
  } else {
    a = cpu.ReadModifyWrite<T>(linear, ComputeUnary<K, T>);
  }
  SetUnaryFlags<K, T>(cpu.lazy, a);
  return cpu.Next(op);
}

template <Unary K, typename T, Condition C>
const Op* FusedUnary(Cpu& cpu, const Op* op) {
  ChangeRegister<K, T>(cpu, op);
  return Holds<C>(cpu.lazy) ? cpu.Taken(op) : cpu.NotTaken(op);
}

template <Unary K, typename T>
constexpr FusedHandlers kFusedUnary = MakeFused<false>([]<Condition C>() -> Handler {
  return FusedUnary<K, T, C>;
});

template <Unary K>
bool BindUnary(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  unsigned size = instruction.Size(0);
  if (form == Form::kR && size == 4) op.aux = &kFusedUnary<K, uint32_t>;
  if (form == Form::kR && size == 8) op.aux = &kFusedUnary<K, uint64_t>;
  return Install(op, BySize(size, [&]<typename T>() {
                   if (form == Form::kR) return Handler{UnaryRegister<K, T>};
                   return ByAddressing(op, [&]<Addressing A>() -> Handler {
                     return op.flags & kOpLock ? UnaryMemory<K, T, A, true>
                                               : UnaryMemory<K, T, A, false>;
                   });
                 }));
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_ADD, BindAlu<Alu::kAdd>},     {ZYDIS_MNEMONIC_ADC, BindAlu<Alu::kAdc>},
    {ZYDIS_MNEMONIC_SUB, BindAlu<Alu::kSub>},     {ZYDIS_MNEMONIC_SBB, BindAlu<Alu::kSbb>},
    {ZYDIS_MNEMONIC_CMP, BindAlu<Alu::kCmp>},     {ZYDIS_MNEMONIC_INC, BindUnary<Unary::kInc>},
    {ZYDIS_MNEMONIC_DEC, BindUnary<Unary::kDec>}, {ZYDIS_MNEMONIC_NEG, BindUnary<Unary::kNeg>},
};

}  // namespace

std::span<const Binding> ArithmeticBindings() { return kBindings; }

}  // namespace trapline::engine::soft

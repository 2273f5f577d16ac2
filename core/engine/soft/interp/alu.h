// SPDX-License-Identifier: Apache-2.0
// The two-operand operations that set all flags, in every operand form (SDM volume 2: ADD, ADC,
// AND, CMP, OR, SBB, SUB, TEST, XOR), and the fusion of one of them with the conditional jump
// behind it.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "core/engine/soft/interp/access.h"
#include "core/engine/soft/interp/condition.h"
#include "core/engine/soft/interp/fused.h"

namespace trapline::engine::soft {

enum class Alu : uint8_t { kAdd, kOr, kAdc, kSbb, kAnd, kSub, kXor, kCmp, kTest };

constexpr bool Writes(Alu alu) { return alu != Alu::kCmp && alu != Alu::kTest; }

// carry is the CF that ADC and SBB take in.
template <Alu K, typename T>
T Compute(T a, T b, bool carry) {
  switch (K) {
    case Alu::kAdd:
      return a + b;
    case Alu::kAdc:
      return a + b + carry;
    case Alu::kSub:
    case Alu::kCmp:
      return a - b;
    case Alu::kSbb:
      return a - b - carry;
    case Alu::kOr:
      return a | b;
    case Alu::kXor:
      return a ^ b;
    default:
      return a & b;
  }
}

constexpr LazyFlags::Kind FlagKind(Alu alu) {
  switch (alu) {
    case Alu::kAdd:
      return LazyFlags::Kind::kAdd;
    case Alu::kAdc:
      return LazyFlags::Kind::kAdc;
    case Alu::kSub:
    case Alu::kCmp:
      return LazyFlags::Kind::kSub;
    case Alu::kSbb:
      return LazyFlags::Kind::kSbb;
    default:
      return LazyFlags::Kind::kLogic;
  }
}

template <Alu K, typename T, typename Source>
const Op* AluToRegister(Cpu& cpu, const Op* op) {
  T b = Source::template Get<T>(cpu, op);
  T a = cpu.Get<T>(op->reg);
  T result = Compute<K, T>(a, b, cpu.lazy.Carry());
  if constexpr (Writes(K)) cpu.Set<T>(op->reg, result);
  cpu.lazy.Set<T>(FlagKind(K), a, b, result);
  return cpu.Then(op);
}

// CMP and TEST only look at their first operand.
template <Alu K, typename T, Addressing A, typename Source>
const Op* AluOnMemory(Cpu& cpu, const Op* op) {
  T a = cpu.Load<T>(ReadAddress<A, T>(cpu, op));
  T b = Source::template Get<T>(cpu, op);
  cpu.lazy.Set<T>(FlagKind(K), a, b, Compute<K, T>(a, b, false));
  return cpu.Then(op);
}

template <Alu K, typename T, Addressing A, typename Source, bool kLocked>
const Op* AluToMemory(Cpu& cpu, const Op* op) {
  T b = Source::template Get<T>(cpu, op);
  bool carry = cpu.lazy.Carry();
  uint64_t linear = WriteAddress<A, T>(cpu, op);
  auto compute = [b, carry](T a) { return Compute<K, T>(a, b, carry); };
  T a;
  if constexpr (kLocked) {
    a = cpu.AtomicRmw<T>(linear, compute);
  } else {
    a = cpu.ReadModifyWrite<T>(linear, compute);
  }
  cpu.lazy.Set<T>(FlagKind(K), a, b, compute(a));
  return cpu.Next(op);
}

// Memory as the first operand.
template <Alu K, typename Source>
Handler AluMemoryHandler(const Op& op, unsigned size) {
  return BySize(size, [&]<typename T>() {
    return ByAddressing(op, [&]<Addressing A>() -> Handler {
      if constexpr (!Writes(K)) {
        return AluOnMemory<K, T, A, Source>;
      } else {
        return op.flags & kOpLock ? AluToMemory<K, T, A, Source, true>
                                  : AluToMemory<K, T, A, Source, false>;
      }
    });
  });
}

template <Alu K, typename Source>
Handler AluRegisterHandler(unsigned size) {
  return BySize(size, []<typename T>() -> Handler { return AluToRegister<K, T, Source>; });
}

// --- With the Jcc behind it as one Op ---

// The jump's target takes Op::imm, so an immediate of the operation's own is in Op::aux.
struct FromAux {
  template <typename T>
  static T Get(Cpu&, const Op* op) {
    return static_cast<T>(reinterpret_cast<uintptr_t>(op->aux));
  }
};

// The condition straight from the operands, where that is one host comparison; from the flags
// otherwise.
template <Condition C, Alu K, typename T>
bool HoldsAfter(const LazyFlags& flags, T a, T b, T result) {
  constexpr bool kNegated = static_cast<uint8_t>(C) & 1;
  constexpr auto kPositive = static_cast<Condition>(static_cast<uint8_t>(C) & ~1);
  constexpr bool kCompares = K == Alu::kCmp || K == Alu::kSub;
  constexpr bool kLogical = FlagKind(K) == LazyFlags::Kind::kLogic;
  auto sa = static_cast<Signed<T>>(a), sb = static_cast<Signed<T>>(b),
       sr = static_cast<Signed<T>>(result);
  if constexpr (kPositive == Condition::kEqual) {
    return (kCompares ? a == b : result == 0) != kNegated;
  } else if constexpr (kPositive == Condition::kSign) {
    return (sr < 0) != kNegated;
  } else if constexpr (kCompares && kPositive == Condition::kBelow) {
    return (a < b) != kNegated;
  } else if constexpr (kCompares && kPositive == Condition::kNotAbove) {
    return (a <= b) != kNegated;
  } else if constexpr (kCompares && kPositive == Condition::kLess) {
    return (sa < sb) != kNegated;
  } else if constexpr (kCompares && kPositive == Condition::kNotGreater) {
    return (sa <= sb) != kNegated;
  } else if constexpr (kLogical && kPositive == Condition::kLess) {
    return (sr < 0) != kNegated;
  } else if constexpr (kLogical && kPositive == Condition::kNotGreater) {
    return (sr <= 0) != kNegated;
  } else {
    return Holds<C>(flags);
  }
}

template <Alu K, typename T, typename Source, Condition C>
const Op* FusedAlu(Cpu& cpu, const Op* op) {
  T b = Source::template Get<T>(cpu, op);
  T a = cpu.Get<T>(op->reg);
  T result = Compute<K, T>(a, b, false);
  if constexpr (Writes(K)) cpu.Set<T>(op->reg, result);
  cpu.lazy.Set<T>(FlagKind(K), a, b, result);
  return HoldsAfter<C, K, T>(cpu.lazy, a, b, result) ? cpu.Taken(op) : cpu.NotTaken(op);
}

template <Alu K, typename T, Addressing A, typename Source, Condition C>
const Op* FusedAluOnMemory(Cpu& cpu, const Op* op) {
  T a = cpu.Load<T>(ReadAddress<A, T>(cpu, op));
  T b = Source::template Get<T>(cpu, op);
  T result = Compute<K, T>(a, b, false);
  cpu.lazy.Set<T>(FlagKind(K), a, b, result);
  return HoldsAfter<C, K, T>(cpu.lazy, a, b, result) ? cpu.Taken(op) : cpu.NotTaken(op);
}

template <Alu K, typename T, typename Source>
constexpr FusedHandlers kFusedAlu = MakeFused<std::is_same_v<Source, FromAux>>(
    []<Condition C>() -> Handler { return FusedAlu<K, T, Source, C>; });

template <Alu K, typename T, Addressing A, typename Source>
constexpr FusedHandlers kFusedAluOnMemory = MakeFused<std::is_same_v<Source, FromAux>>(
    []<Condition C>() -> Handler { return FusedAluOnMemory<K, T, A, Source, C>; });

template <Alu K, typename Source>
const void* FusedRegister(unsigned size) {
  switch (size) {
    case 1:
      return &kFusedAlu<K, uint8_t, Source>;
    case 2:
      return &kFusedAlu<K, uint16_t, Source>;
    case 4:
      return &kFusedAlu<K, uint32_t, Source>;
    default:
      return &kFusedAlu<K, uint64_t, Source>;
  }
}

template <Alu K, typename T, typename Source>
const void* FusedMemoryOf(const Op& op) {
  return AddressingOf(op) == Addressing::kBase
             ? &kFusedAluOnMemory<K, T, Addressing::kBase, Source>
             : &kFusedAluOnMemory<K, T, Addressing::kIndexed, Source>;
}

template <Alu K, typename Source>
const void* FusedMemory(const Op& op, unsigned size) {
  if (op.checked_segment) return nullptr;
  switch (size) {
    case 1:
      return FusedMemoryOf<K, uint8_t, Source>(op);
    case 2:
      return FusedMemoryOf<K, uint16_t, Source>(op);
    case 4:
      return FusedMemoryOf<K, uint32_t, Source>(op);
    default:
      return FusedMemoryOf<K, uint64_t, Source>(op);
  }
}

// --- Binding ---

// Offers the fused form to Fuse: for CMP and TEST in all forms, for AND, ADD and SUB among
// registers.
template <Alu K>
void OfferFused(Form form, unsigned size, Op& op) {
  constexpr bool kRegisterForms = !Writes(K) || K == Alu::kAnd || K == Alu::kSub || K == Alu::kAdd;
  if constexpr (kRegisterForms) {
    if (form == Form::kRR) op.aux = FusedRegister<K, FromRm>(size);
    if (form == Form::kRI) op.aux = FusedRegister<K, FromAux>(size);
  }
  if constexpr (!Writes(K)) {
    if (form == Form::kMR) op.aux = FusedMemory<K, FromReg>(op, size);
    if (form == Form::kMI) op.aux = FusedMemory<K, FromAux>(op, size);
  }
  if constexpr (K == Alu::kCmp) {
    if (form != Form::kRM || op.checked_segment) return;
    op.aux = AddressingOf(op) == Addressing::kBase
                 ? FusedRegister<K, FromMemory<Addressing::kBase>>(size)
                 : FusedRegister<K, FromMemory<Addressing::kIndexed>>(size);
  }
}

template <Alu K>
bool BindAlu(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  unsigned size = instruction.Size(0);
  if (!op.checked_segment) OfferFused<K>(form, size, op);
  switch (form) {
    case Form::kRR:
      return Install(op, AluRegisterHandler<K, FromRm>(size));
    case Form::kRI:
      return Install(op, AluRegisterHandler<K, FromImm>(size));
    case Form::kRM:
      return Install(op, ByMemorySource(op, [&]<typename Source>() {
                       return AluRegisterHandler<K, Source>(size);
                     }));
    case Form::kMR:
      return Install(op, AluMemoryHandler<K, FromReg>(op, size));
    case Form::kMI:
      return Install(op, AluMemoryHandler<K, FromImm>(op, size));
    default:
      return false;
  }
}

}  // namespace trapline::engine::soft

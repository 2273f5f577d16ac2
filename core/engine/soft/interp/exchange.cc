// SPDX-License-Identifier: Apache-2.0
// XCHG, XADD, CMPXCHG, CMPXCHG8B and CMPXCHG16B (SDM volume 2).
//
// XCHG with memory is atomic with or without LOCK. The compare-and-exchange instructions always are
// here: what LOCK adds is a promise, and none of them loses by giving it unasked.
#include "core/engine/soft/interp/access.h"

namespace trapline::engine::soft {
namespace {

constexpr uint8_t kRaxOffset = SlotOffset(x86::kRax);
constexpr uint8_t kRbxOffset = SlotOffset(x86::kRbx);
constexpr uint8_t kRcxOffset = SlotOffset(x86::kRcx);
constexpr uint8_t kRdxOffset = SlotOffset(x86::kRdx);

template <typename T>
const Op* ExchangeRegisters(Cpu& cpu, const Op* op) {
  T a = cpu.Get<T>(op->reg), b = cpu.Get<T>(op->rm);
  cpu.Set<T>(op->reg, b);
  cpu.Set<T>(op->rm, a);
  return cpu.Then(op);
}

template <typename T, Addressing A>
const Op* ExchangeMemory(Cpu& cpu, const Op* op) {
  T old = cpu.AtomicExchange<T>(WriteAddress<A, T>(cpu, op), cpu.Get<T>(op->reg));
  cpu.Set<T>(op->reg, old);
  return cpu.Next(op);
}

// The register comes first in Intel order where its opcode says so (XCHG r, m is the same as XCHG
// m, r).
bool BindExchange(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  return Install(op, BySize(instruction.Size(0), [&]<typename T>() {
                   if (form == Form::kRR) return Handler{ExchangeRegisters<T>};
                   return ByAddressing(
                       op, []<Addressing A>() -> Handler { return ExchangeMemory<T, A>; });
                 }));
}

template <typename T>
const Op* ExchangeAddRegisters(Cpu& cpu, const Op* op) {
  T a = cpu.Get<T>(op->reg), b = cpu.Get<T>(op->rm);
  T sum = a + b;
  cpu.Set<T>(op->rm, a);
  cpu.Set<T>(op->reg, sum);  // last: wins where both are the same register
  cpu.lazy.Set<T>(LazyFlags::Kind::kAdd, a, b, sum);
  return cpu.Then(op);
}

template <typename T, Addressing A, bool kLocked>
const Op* ExchangeAddMemory(Cpu& cpu, const Op* op) {
  T b = cpu.Get<T>(op->reg);
  uint64_t linear = WriteAddress<A, T>(cpu, op);
  auto add = [b](T a) { return static_cast<T>(a + b); };
  T a = kLocked ? cpu.AtomicRmw<T>(linear, add) : cpu.ReadModifyWrite<T>(linear, add);
  cpu.Set<T>(op->reg, a);
  cpu.lazy.Set<T>(LazyFlags::Kind::kAdd, a, b, static_cast<T>(a + b));
  return cpu.Next(op);
}

bool BindExchangeAdd(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  return Install(op, BySize(instruction.Size(0), [&]<typename T>() {
                   if (form == Form::kRR) return Handler{ExchangeAddRegisters<T>};
                   return ByAddressing(op, [&]<Addressing A>() -> Handler {
                     return op.flags & kOpLock ? ExchangeAddMemory<T, A, true>
                                               : ExchangeAddMemory<T, A, false>;
                   });
                 }));
}

template <typename T>
void SetCompareFlags(Cpu& cpu, T accumulator, T found) {
  cpu.lazy.Set<T>(LazyFlags::Kind::kSub, accumulator, found, static_cast<T>(accumulator - found));
}

template <typename T>
const Op* CompareExchangeRegisters(Cpu& cpu, const Op* op) {
  T accumulator = cpu.Get<T>(kRaxOffset), found = cpu.Get<T>(op->reg);
  if (accumulator == found) {
    cpu.Set<T>(op->reg, cpu.Get<T>(op->rm));
  } else {
    cpu.Set<T>(op->reg, found);
    cpu.Set<T>(kRaxOffset, found);
  }
  SetCompareFlags<T>(cpu, accumulator, found);
  return cpu.Then(op);
}

template <typename T, Addressing A>
const Op* CompareExchangeMemory(Cpu& cpu, const Op* op) {
  T accumulator = cpu.Get<T>(kRaxOffset), found = accumulator;
  bool equal =
      cpu.AtomicCompareExchange<T>(WriteAddress<A, T>(cpu, op), &found, cpu.Get<T>(op->reg));
  if (!equal) cpu.Set<T>(kRaxOffset, found);
  SetCompareFlags<T>(cpu, accumulator, found);
  return cpu.Next(op);
}

bool BindCompareExchange(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  return Install(op, BySize(instruction.Size(0), [&]<typename T>() {
                   if (form == Form::kRR) return Handler{CompareExchangeRegisters<T>};
                   return ByAddressing(
                       op, []<Addressing A>() -> Handler { return CompareExchangeMemory<T, A>; });
                 }));
}

// rDX:rAX is compared, rCX:rBX stored; Half is what each of the four holds.
template <typename Half, typename Whole>
const Op* CompareExchangePair(Cpu& cpu, const Op* op) {
  uint64_t linear = WriteAddress<Addressing::kChecked, Whole>(cpu, op);
  if (sizeof(Whole) == 16 && linear % 16 != 0) RaiseGp();
  auto pair = [&cpu](uint8_t high, uint8_t low) {
    return static_cast<Whole>(static_cast<Whole>(cpu.Get<Half>(high)) << kBits<Half> |
                              cpu.Get<Half>(low));
  };
  Whole found = pair(kRdxOffset, kRaxOffset);
  bool equal = cpu.AtomicCompareExchange<Whole>(linear, &found, pair(kRcxOffset, kRbxOffset));
  if (!equal) {
    cpu.Set<Half>(kRaxOffset, static_cast<Half>(found));
    cpu.Set<Half>(kRdxOffset, static_cast<Half>(found >> kBits<Half>));
  }
  cpu.lazy.SetZero(equal);
  return cpu.Next(op);
}

template <Handler kRun>
bool BindTo(const Instruction& instruction, Op& op) {
  return instruction.IsMemory(0) && Install(op, kRun);
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_XCHG, BindExchange},
    {ZYDIS_MNEMONIC_XADD, BindExchangeAdd},
    {ZYDIS_MNEMONIC_CMPXCHG, BindCompareExchange},
    {ZYDIS_MNEMONIC_CMPXCHG8B, BindTo<CompareExchangePair<uint32_t, uint64_t>>},
    {ZYDIS_MNEMONIC_CMPXCHG16B, BindTo<CompareExchangePair<uint64_t, Sixteen>>},
};

}  // namespace

std::span<const Binding> ExchangeBindings() { return kBindings; }

}  // namespace trapline::engine::soft

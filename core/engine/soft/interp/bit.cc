// SPDX-License-Identifier: Apache-2.0
// BT, BTS, BTR, BTC, BSF, BSR and POPCNT (SDM volume 2).
#include "core/engine/soft/interp/access.h"

namespace trapline::engine::soft {
namespace {

enum class BitOp : uint8_t { kTest, kSet, kReset, kComplement };

template <BitOp K, typename T>
T Changed(T a, T mask) {
  return K == BitOp::kSet          ? a | mask
         : K == BitOp::kReset      ? a & ~mask
         : K == BitOp::kComplement ? a ^ mask
                                   : a;
}

template <BitOp K, typename T, typename Index>
const Op* BitInRegister(Cpu& cpu, const Op* op) {
  unsigned bit = Index::template Get<T>(cpu, op) % kBits<T>;
  T a = cpu.Get<T>(op->reg);
  if constexpr (K != BitOp::kTest) cpu.Set<T>(op->reg, Changed<K, T>(a, T{1} << bit));
  cpu.lazy.SetCarry((a >> bit) & 1);
  return cpu.Then(op);
}

// The operand that holds the bit: with the index from a register the bit string reaches 2^63 bits
// both ways.
template <typename T, typename Index, bool kWrite>
uint64_t BitAddress(Cpu& cpu, const Op* op, T index) {
  Op moved = *op;
  if constexpr (std::is_same_v<Index, FromReg>) {
    int64_t element = static_cast<Signed<T>>(index) >> (sizeof(T) == 2   ? 4
                                                        : sizeof(T) == 4 ? 5
                                                                         : 6);
    moved.disp += element * static_cast<int64_t>(sizeof(T));
  }
  return kWrite ? WriteAddress<Addressing::kChecked, T>(cpu, &moved)
                : ReadAddress<Addressing::kChecked, T>(cpu, &moved);
}

template <typename T, typename Index>
const Op* BitTestMemory(Cpu& cpu, const Op* op) {
  T index = Index::template Get<T>(cpu, op);
  T a = cpu.Load<T>(BitAddress<T, Index, false>(cpu, op, index));
  cpu.lazy.SetCarry((a >> (index % kBits<T>)) & 1);
  return cpu.Then(op);
}

template <BitOp K, typename T, typename Index, bool kLocked>
const Op* BitInMemory(Cpu& cpu, const Op* op) {
  T index = Index::template Get<T>(cpu, op);
  uint64_t linear = BitAddress<T, Index, true>(cpu, op, index);
  unsigned bit = index % kBits<T>;
  auto compute = [bit](T a) { return Changed<K, T>(a, T{1} << bit); };
  T a;
  if constexpr (kLocked) {
    a = cpu.AtomicRmw<T>(linear, compute);
  } else {
    a = cpu.ReadModifyWrite<T>(linear, compute);
  }
  cpu.lazy.SetCarry((a >> bit) & 1);
  return cpu.Next(op);
}

template <BitOp K, typename T, typename Index>
Handler BitHandler(Form form, const Op& op) {
  if (form == Form::kRR || form == Form::kRI) return BitInRegister<K, T, Index>;
  if constexpr (K == BitOp::kTest) {
    return BitTestMemory<T, Index>;
  } else {
    return op.flags & kOpLock ? BitInMemory<K, T, Index, true> : BitInMemory<K, T, Index, false>;
  }
}

template <BitOp K>
bool BindBit(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  return Install(op, ByWideSize(instruction.Size(0), [&]<typename T>() -> Handler {
                   switch (form) {
                     case Form::kRR:
                       return BitHandler<K, T, FromRm>(form, op);
                     case Form::kMR:
                       return BitHandler<K, T, FromReg>(form, op);
                     default:
                       return BitHandler<K, T, FromImm>(form, op);
                   }
                 }));
}

// A source of zero leaves the destination as it is, on Intel's CPUs as on AMD's.
template <bool kForward, typename T, typename Source>
const Op* BitScan(Cpu& cpu, const Op* op) {
  T source = Source::template Get<T>(cpu, op);
  cpu.lazy.SetResult<T>(source, false, false);
  if (source != 0) {
    unsigned index = kForward ? __builtin_ctzll(source) : 63 - __builtin_clzll(source);
    cpu.Set<T>(op->reg, static_cast<T>(index));
  }
  return cpu.Then(op);
}

template <typename T, typename Source>
const Op* PopulationCount(Cpu& cpu, const Op* op) {
  T source = Source::template Get<T>(cpu, op);
  cpu.Set<T>(op->reg, static_cast<T>(__builtin_popcountll(source)));
  cpu.lazy.SetKnown(source == 0 ? x86::rflags::kZf : 0);
  return cpu.Then(op);
}

template <bool kForward>
bool BindScan(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  return Install(op, ByWideSize(instruction.Size(0), [&]<typename T>() -> Handler {
                   if (form == Form::kRR) return BitScan<kForward, T, FromRm>;
                   return BitScan<kForward, T, FromMemory<Addressing::kChecked>>;
                 }));
}

bool BindPopulationCount(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  return Install(op, ByWideSize(instruction.Size(0), [&]<typename T>() -> Handler {
                   if (form == Form::kRR) return PopulationCount<T, FromRm>;
                   return PopulationCount<T, FromMemory<Addressing::kChecked>>;
                 }));
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_BT, BindBit<BitOp::kTest>},   {ZYDIS_MNEMONIC_BTS, BindBit<BitOp::kSet>},
    {ZYDIS_MNEMONIC_BTR, BindBit<BitOp::kReset>}, {ZYDIS_MNEMONIC_BTC, BindBit<BitOp::kComplement>},
    {ZYDIS_MNEMONIC_BSF, BindScan<true>},         {ZYDIS_MNEMONIC_BSR, BindScan<false>},
    {ZYDIS_MNEMONIC_POPCNT, BindPopulationCount},
};

}  // namespace

std::span<const Binding> BitBindings() { return kBindings; }

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Moves between registers and memory, widening and byte-swapping ones, LEA and XLAT (SDM volume 2).
#include <algorithm>

#include "core/engine/soft/interp/access.h"

namespace trapline::engine::soft {
namespace {

// --- MOV, MOVNTI ---

template <typename T, typename Source>
const Op* MoveToRegister(Cpu& cpu, const Op* op) {
  cpu.Set<T>(op->reg, Source::template Get<T>(cpu, op));
  return cpu.Then(op);
}

template <typename T, Addressing A, typename Source>
const Op* MoveToMemory(Cpu& cpu, const Op* op) {
  cpu.Store<T>(WriteAddress<A, T>(cpu, op), Source::template Get<T>(cpu, op));
  return cpu.Next(op);
}

template <typename Source>
Handler ToMemory(const Op& op, unsigned size) {
  return BySize(size, [&]<typename T>() {
    return ByAddressing(op, []<Addressing A>() -> Handler { return MoveToMemory<T, A, Source>; });
  });
}

template <typename Source>
Handler ToRegister(unsigned size) {
  return BySize(size, []<typename T>() -> Handler { return MoveToRegister<T, Source>; });
}

bool BindMov(const Instruction& instruction, Op& op) {
  uint8_t reg = op.reg, rm = op.rm;
  unsigned size = instruction.Size(0);
  switch (Arrange(instruction, op)) {
    case Form::kRR:
      return Install(op, ToRegister<FromRm>(size));
    case Form::kRI:
      return Install(op, ToRegister<FromImm>(size));
    case Form::kRM:
      return Install(
          op, ByMemorySource(op, [&]<typename Source>() { return ToRegister<Source>(size); }));
    case Form::kMR:
      return Install(op, ToMemory<FromReg>(op, size));
    case Form::kMI:
      return Install(op, ToMemory<FromImm>(op, size));
    default:  // a segment, control or debug register: as the decoder filled it
      op.reg = reg;
      op.rm = rm;
      return BindSystemMove(instruction, op);
  }
}

// --- MOVZX, MOVSX, MOVSXD ---

template <typename From, typename To, bool kSigned>
To Widen(From value) {
  return kSigned ? static_cast<To>(static_cast<Signed<From>>(value)) : static_cast<To>(value);
}

template <typename From, typename To, bool kSigned, typename Source>
const Op* MoveWidened(Cpu& cpu, const Op* op) {
  cpu.Set<To>(op->reg, Widen<From, To, kSigned>(Source::template Get<From>(cpu, op)));
  return cpu.Then(op);
}

template <bool kSigned, typename Source>
Handler Widened(unsigned from, unsigned to) {
  return BySize(from, [&]<typename From>() {
    return ByWideSize(to, []<typename To>() -> Handler {
      if constexpr (sizeof(To) < sizeof(From)) {
        return nullptr;
      } else {
        return MoveWidened<From, To, kSigned, Source>;
      }
    });
  });
}

template <bool kSigned>
bool BindWiden(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  // MOVSXD with a 16-bit destination widens nothing: it moves 16 bits.
  unsigned to = instruction.Size(0), from = std::min(to, instruction.Size(1));
  if (form == Form::kRR) return Install(op, Widened<kSigned, FromRm>(from, to));
  if (form != Form::kRM) return false;
  return Install(op, ByMemorySource(op, [&]<typename Source>() {
                   return Widened<kSigned, Source>(from, to);
                 }));
}

// CBW, CWDE, CDQE: the lower half of rAX into the whole.
template <typename From, typename To>
const Op* WidenAccumulator(Cpu& cpu, const Op* op) {
  cpu.Set<To>(0, Widen<From, To, true>(cpu.Get<From>(0)));
  return cpu.Then(op);
}

// CWD, CDQ, CQO: rDX takes the sign of rAX.
template <typename T>
const Op* SpreadSign(Cpu& cpu, const Op* op) {
  bool negative = static_cast<Signed<T>>(cpu.Get<T>(0)) < 0;
  cpu.Set<T>(SlotOffset(x86::kRdx), negative ? static_cast<T>(~T{0}) : T{0});
  return cpu.Then(op);
}

// --- LEA: the offset alone, without a segment ---

template <typename T>
const Op* LoadAddressBase(Cpu& cpu, const Op* op) {
  cpu.Set<T>(op->reg,
             static_cast<T>(cpu.Get<uint64_t>(op->base) + static_cast<uint64_t>(op->disp)));
  return cpu.Then(op);
}

template <typename T>
const Op* LoadAddress(Cpu& cpu, const Op* op) {
  uint64_t offset = cpu.Get<uint64_t>(op->base) + (cpu.Get<uint64_t>(op->index) << op->scale) +
                    static_cast<uint64_t>(op->disp);
  if (op->address_size == 2) offset = static_cast<uint16_t>(offset);
  if (op->address_size == 4) offset = static_cast<uint32_t>(offset);
  cpu.Set<T>(op->reg, static_cast<T>(offset));
  return cpu.Then(op);
}

bool BindLea(const Instruction& instruction, Op& op) {
  if (Arrange(instruction, op) != Form::kRM) return false;
  bool simple = op.address_size == 8 && op.index == SlotOffset(kSlotZero);
  return Install(op, ByWideSize(instruction.Size(0), [&]<typename T>() -> Handler {
                   return simple ? LoadAddressBase<T> : LoadAddress<T>;
                 }));
}

// --- MOVBE, BSWAP ---

template <typename T>
T Swapped(T value) {
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

template <typename T>
const Op* LoadSwapped(Cpu& cpu, const Op* op) {
  cpu.Set<T>(op->reg, Swapped(FromMemory<Addressing::kChecked>::Get<T>(cpu, op)));
  return cpu.Then(op);
}

template <typename T>
const Op* StoreSwapped(Cpu& cpu, const Op* op) {
  cpu.Store<T>(WriteAddress<Addressing::kChecked, T>(cpu, op), Swapped(cpu.Get<T>(op->reg)));
  return cpu.Next(op);
}

bool BindMovbe(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  return Install(op, ByWideSize(instruction.Size(0), [&]<typename T>() -> Handler {
                   return form == Form::kRM ? LoadSwapped<T> : StoreSwapped<T>;
                 }));
}

template <typename T>
const Op* SwapRegister(Cpu& cpu, const Op* op) {
  // Of 16 bits it is undefined; the CPUs at hand clear them.
  T value = cpu.Get<T>(op->reg);
  cpu.Set<T>(op->reg, sizeof(T) == 2 ? T{0} : Swapped(value));
  return cpu.Then(op);
}

bool BindBswap(const Instruction& instruction, Op& op) {
  Arrange(instruction, op);
  return Install(
      op, ByWideSize(instruction.Size(0), []<typename T>() -> Handler { return SwapRegister<T>; }));
}

// --- XLAT ---

const Op* Translate(Cpu& cpu, const Op* op) {
  uint64_t offset = cpu.r[x86::kRbx] + cpu.Get<uint8_t>(0);
  if (op->address_size == 2) offset = static_cast<uint16_t>(offset);
  if (op->address_size == 4) offset = static_cast<uint32_t>(offset);
  cpu.Set<uint8_t>(0, cpu.Load<uint8_t>(ReadAddressIn(cpu, op->segment, offset, 1)));
  return cpu.Then(op);
}

template <Handler kRun>
bool BindTo(const Instruction&, Op& op) {
  return Install(op, kRun);
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_MOV, BindMov},
    {ZYDIS_MNEMONIC_MOVNTI, BindMov},
    {ZYDIS_MNEMONIC_MOVZX, BindWiden<false>},
    {ZYDIS_MNEMONIC_MOVSX, BindWiden<true>},
    {ZYDIS_MNEMONIC_MOVSXD, BindWiden<true>},
    {ZYDIS_MNEMONIC_CBW, BindTo<WidenAccumulator<uint8_t, uint16_t>>},
    {ZYDIS_MNEMONIC_CWDE, BindTo<WidenAccumulator<uint16_t, uint32_t>>},
    {ZYDIS_MNEMONIC_CDQE, BindTo<WidenAccumulator<uint32_t, uint64_t>>},
    {ZYDIS_MNEMONIC_CWD, BindTo<SpreadSign<uint16_t>>},
    {ZYDIS_MNEMONIC_CDQ, BindTo<SpreadSign<uint32_t>>},
    {ZYDIS_MNEMONIC_CQO, BindTo<SpreadSign<uint64_t>>},
    {ZYDIS_MNEMONIC_LEA, BindLea},
    {ZYDIS_MNEMONIC_MOVBE, BindMovbe},
    {ZYDIS_MNEMONIC_BSWAP, BindBswap},
    {ZYDIS_MNEMONIC_XLAT, BindTo<Translate>},
};

}  // namespace

std::span<const Binding> MoveBindings() { return kBindings; }

}  // namespace trapline::engine::soft

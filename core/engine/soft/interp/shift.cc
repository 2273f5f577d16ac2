// SPDX-License-Identifier: Apache-2.0
// Shifts and rotations (SDM volume 2: SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD).
//
// A masked count of zero changes no flag, yet still writes the destination, which shows in the
// upper half of a 32-bit register. OF is defined for counts of one alone; for others it is what the
// same formula gives.
#include "core/engine/soft/interp/access.h"

namespace trapline::engine::soft {
namespace {

enum class Shift : uint8_t { kShl, kShr, kSar, kRol, kRor, kRcl, kRcr };

struct CountFromCl {
  static unsigned Get(Cpu& cpu, const Op*) { return cpu.Get<uint8_t>(SlotOffset(x86::kRcx)); }
};
struct CountFromImm {
  static unsigned Get(Cpu&, const Op* op) { return static_cast<uint8_t>(op->imm); }
};

template <typename T>
constexpr unsigned kCountMask = sizeof(T) == 8 ? 63 : 31;

template <typename T>
bool Bit(T value, unsigned index) {
  return (value >> index) & 1;
}
template <typename T>
bool TopBit(T value) {
  return Bit(value, kBits<T> - 1);
}

// count is masked already. carry is CF before; the flags change only where lazy is given and count
// is not zero.
template <Shift K, typename T>
T Shifted(T a, unsigned count, bool carry, LazyFlags* lazy) {
  if (count == 0) return a;
  T result;
  bool out;
  if constexpr (K == Shift::kShl) {
    if constexpr (sizeof(T) == 8) {
      result = a << count;
      out = Bit(a, 64 - count);
    } else {
      uint64_t wide = uint64_t{a} << count;
      result = static_cast<T>(wide);
      out = Bit(wide, kBits<T>);
    }
    if (lazy) lazy->SetResult<T>(result, out, TopBit(result) != out);
  } else if constexpr (K == Shift::kShr) {
    uint64_t wide = uint64_t{a} >> (count - 1);
    out = wide & 1;
    result = static_cast<T>(wide >> 1);
    if (lazy) lazy->SetResult<T>(result, out, TopBit(a));
  } else {
    int64_t wide = static_cast<int64_t>(static_cast<Signed<T>>(a)) >> (count - 1);
    out = wide & 1;
    result = static_cast<T>(wide >> 1);
    if (lazy) lazy->SetResult<T>(result, out, false);
  }
  (void)carry;
  return result;
}

template <Shift K, typename T>
T Rotated(T a, unsigned count, LazyFlags* lazy) {
  if (count == 0) return a;
  unsigned turn = count % kBits<T>;
  unsigned back = (kBits<T> - turn) % kBits<T>;
  T result;
  if constexpr (K == Shift::kRol) {
    result = static_cast<T>(a << turn | a >> back);
    if (lazy) lazy->SetCarryOverflow(result & 1, TopBit(result) != Bit(result, 0));
  } else {
    result = static_cast<T>(a >> turn | a << back);
    if (lazy) lazy->SetCarryOverflow(TopBit(result), TopBit(result) != Bit(result, kBits<T> - 2));
  }
  return result;
}

// The rotation through CF: of bits + 1 bits in all.
template <Shift K, typename T>
T RotatedThroughCarry(T a, unsigned count, bool carry, LazyFlags* lazy) {
  unsigned turn = count % (kBits<T> + 1);
  if (turn == 0) return a;
  // Shifts by the full width are undefined in C++: they take two steps.
  T result;
  bool out;
  if constexpr (K == Shift::kRcl) {
    T entering = static_cast<T>(turn == 1 ? 0 : a >> (kBits<T> + 1 - turn));
    result =
        static_cast<T>(static_cast<T>(a << (turn - 1)) << 1 | T{carry} << (turn - 1) | entering);
    out = Bit(a, kBits<T> - turn);
    if (lazy) lazy->SetCarryOverflow(out, TopBit(result) != out);
  } else {
    T entering = static_cast<T>(turn == 1 ? 0 : a << (kBits<T> + 1 - turn));
    result = static_cast<T>(static_cast<T>(a >> (turn - 1)) >> 1 | T{carry} << (kBits<T> - turn) |
                            entering);
    out = Bit(a, turn - 1);
    if (lazy) lazy->SetCarryOverflow(out, TopBit(result) != Bit(result, kBits<T> - 2));
  }
  return result;
}

template <Shift K, typename T>
T Apply(T a, unsigned count, bool carry, LazyFlags* lazy) {
  if constexpr (K == Shift::kShl || K == Shift::kShr || K == Shift::kSar) {
    return Shifted<K, T>(a, count, carry, lazy);
  } else if constexpr (K == Shift::kRol || K == Shift::kRor) {
    return Rotated<K, T>(a, count, lazy);
  } else {
    return RotatedThroughCarry<K, T>(a, count, carry, lazy);
  }
}

template <Shift K, typename T, typename Count>
const Op* ShiftRegister(Cpu& cpu, const Op* op) {
  unsigned count = Count::Get(cpu, op) & kCountMask<T>;
  cpu.Set<T>(op->reg, Apply<K, T>(cpu.Get<T>(op->reg), count, cpu.lazy.Carry(), &cpu.lazy));
  return cpu.Then(op);
}

template <Shift K, typename T, typename Count>
const Op* ShiftMemory(Cpu& cpu, const Op* op) {
  unsigned count = Count::Get(cpu, op) & kCountMask<T>;
  bool carry = cpu.lazy.Carry();
  T old = cpu.ReadModifyWrite<T>(WriteAddress<Addressing::kChecked, T>(cpu, op),
                                 [=](T a) { return Apply<K, T>(a, count, carry, nullptr); });
  Apply<K, T>(old, count, carry, &cpu.lazy);
  return cpu.Next(op);
}

template <Shift K>
bool BindShift(const Instruction& instruction, Op& op) {
  bool memory = instruction.IsMemory(0), immediate = instruction.IsImmediate(1);
  Arrange(instruction, op);
  return Install(
      op, BySize(instruction.Size(0), [&]<typename T>() -> Handler {
        if (memory) {
          return immediate ? ShiftMemory<K, T, CountFromImm> : ShiftMemory<K, T, CountFromCl>;
        }
        return immediate ? ShiftRegister<K, T, CountFromImm> : ShiftRegister<K, T, CountFromCl>;
      }));
}

// --- SHLD, SHRD ---

// A 16-bit destination with a count above 16, which is undefined, takes its own bits once more
// behind the source's.
template <bool kLeft, typename T>
T DoubleShifted(T a, T filler, unsigned count, LazyFlags* lazy) {
  if (count == 0) return a;
  T result;
  bool out;
  if constexpr (sizeof(T) == 2) {
    uint64_t ring = uint64_t{a} << 32 | uint64_t{filler} << 16 | a;
    result = static_cast<T>(kLeft ? ring << count >> 32 : ring >> count);
    out = kLeft ? Bit(ring, 48 - count) : Bit(ring, count - 1);
  } else if constexpr (kLeft) {
    result = static_cast<T>(a << count | filler >> (kBits<T> - count));
    out = Bit(a, kBits<T> - count);
  } else {
    result = static_cast<T>(a >> count | filler << (kBits<T> - count));
    out = Bit(a, count - 1);
  }
  if (lazy) lazy->SetResult<T>(result, out, TopBit(result) != TopBit(a));
  return result;
}

template <bool kLeft, typename T, typename Count>
const Op* DoubleShiftRegister(Cpu& cpu, const Op* op) {
  unsigned count = Count::Get(cpu, op) & kCountMask<T>;
  cpu.Set<T>(op->reg,
             DoubleShifted<kLeft, T>(cpu.Get<T>(op->reg), cpu.Get<T>(op->rm), count, &cpu.lazy));
  return cpu.Then(op);
}

template <bool kLeft, typename T, typename Count>
const Op* DoubleShiftMemory(Cpu& cpu, const Op* op) {
  unsigned count = Count::Get(cpu, op) & kCountMask<T>;
  T filler = cpu.Get<T>(op->reg);
  T old = cpu.ReadModifyWrite<T>(WriteAddress<Addressing::kChecked, T>(cpu, op), [=](T a) {
    return DoubleShifted<kLeft, T>(a, filler, count, nullptr);
  });
  DoubleShifted<kLeft, T>(old, filler, count, &cpu.lazy);
  return cpu.Next(op);
}

template <bool kLeft>
bool BindDoubleShift(const Instruction& instruction, Op& op) {
  bool memory = instruction.IsMemory(0), immediate = instruction.IsImmediate(2);
  Arrange(instruction, op);
  return Install(op, ByWideSize(instruction.Size(0), [&]<typename T>() -> Handler {
                   if (memory) {
                     return immediate ? DoubleShiftMemory<kLeft, T, CountFromImm>
                                      : DoubleShiftMemory<kLeft, T, CountFromCl>;
                   }
                   return immediate ? DoubleShiftRegister<kLeft, T, CountFromImm>
                                    : DoubleShiftRegister<kLeft, T, CountFromCl>;
                 }));
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_SHL, BindShift<Shift::kShl>},  {ZYDIS_MNEMONIC_SHR, BindShift<Shift::kShr>},
    {ZYDIS_MNEMONIC_SAR, BindShift<Shift::kSar>},  {ZYDIS_MNEMONIC_ROL, BindShift<Shift::kRol>},
    {ZYDIS_MNEMONIC_ROR, BindShift<Shift::kRor>},  {ZYDIS_MNEMONIC_RCL, BindShift<Shift::kRcl>},
    {ZYDIS_MNEMONIC_RCR, BindShift<Shift::kRcr>},  {ZYDIS_MNEMONIC_SHLD, BindDoubleShift<true>},
    {ZYDIS_MNEMONIC_SHRD, BindDoubleShift<false>},
};

}  // namespace

std::span<const Binding> ShiftBindings() { return kBindings; }

}  // namespace trapline::engine::soft

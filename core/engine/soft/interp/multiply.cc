// SPDX-License-Identifier: Apache-2.0
// MUL, IMUL, DIV and IDIV (SDM volume 2).
#include "core/engine/soft/interp/access.h"

namespace trapline::engine::soft {
namespace {

constexpr uint8_t kRaxOffset = SlotOffset(x86::kRax);
constexpr uint8_t kAhOffset = SlotOffset(x86::kRax) + 1;
constexpr uint8_t kRdxOffset = SlotOffset(x86::kRdx);

// Twice as wide as T, which holds a product or a dividend.
template <typename T>
struct Wide;
template <>
struct Wide<uint8_t> {
  using Unsigned = uint16_t;
  using Integer = int16_t;
};
template <>
struct Wide<uint16_t> {
  using Unsigned = uint32_t;
  using Integer = int32_t;
};
template <>
struct Wide<uint32_t> {
  using Unsigned = uint64_t;
  using Integer = int64_t;
};
template <>
struct Wide<uint64_t> {
  __extension__ typedef unsigned __int128 Unsigned;
  __extension__ typedef __int128 Integer;
};
template <typename T>
using WideUnsigned = typename Wide<T>::Unsigned;
template <typename T>
using WideSigned = typename Wide<T>::Integer;

// The upper half of products and dividends, and remainders: AH for bytes, else rDX.
template <typename T>
constexpr uint8_t kUpper = sizeof(T) == 1 ? kAhOffset : kRdxOffset;

template <typename T, typename Source>
const Op* Multiply(Cpu& cpu, const Op* op) {
  auto product = static_cast<WideUnsigned<T>>(cpu.Get<T>(kRaxOffset)) *
                 static_cast<WideUnsigned<T>>(Source::template Get<T>(cpu, op));
  auto low = static_cast<T>(product);
  auto high = static_cast<T>(product >> kBits<T>);
  cpu.Set<T>(kRaxOffset, low);
  cpu.Set<T>(kUpper<T>, high);
  cpu.lazy.SetResult<T>(low, high != 0, high != 0);
  return cpu.Then(op);
}

// a * b, with CF and OF where it does not fit T; the full product's upper half in *high.
template <typename T>
T MultiplySigned(Cpu& cpu, T a, T b, T* high) {
  auto product = static_cast<WideSigned<T>>(static_cast<Signed<T>>(a)) *
                 static_cast<WideSigned<T>>(static_cast<Signed<T>>(b));
  auto low = static_cast<T>(product);
  *high = static_cast<T>(static_cast<WideUnsigned<T>>(product) >> kBits<T>);
  bool overflow = static_cast<WideSigned<T>>(static_cast<Signed<T>>(low)) != product;
  cpu.lazy.SetResult<T>(low, overflow, overflow);
  return low;
}

template <typename T, typename Source>
const Op* MultiplySignedWide(Cpu& cpu, const Op* op) {
  T b = Source::template Get<T>(cpu, op), high;
  T low = MultiplySigned<T>(cpu, cpu.Get<T>(kRaxOffset), b, &high);
  cpu.Set<T>(kRaxOffset, low);
  cpu.Set<T>(kUpper<T>, high);
  return cpu.Then(op);
}

// The two-operand form.
template <typename T, typename Source>
const Op* MultiplySignedRegister(Cpu& cpu, const Op* op) {
  T b = Source::template Get<T>(cpu, op), high;
  cpu.Set<T>(op->reg, MultiplySigned<T>(cpu, cpu.Get<T>(op->reg), b, &high));
  return cpu.Then(op);
}

// The three-operand form.
template <typename T, typename Source>
const Op* MultiplySignedImmediate(Cpu& cpu, const Op* op) {
  T a = Source::template Get<T>(cpu, op), high;
  cpu.Set<T>(op->reg, MultiplySigned<T>(cpu, a, static_cast<T>(op->imm), &high));
  return cpu.Then(op);
}

template <typename T>
WideUnsigned<T> Dividend(Cpu& cpu) {
  return static_cast<WideUnsigned<T>>(
      static_cast<WideUnsigned<T>>(cpu.Get<T>(kUpper<T>)) << kBits<T> | cpu.Get<T>(kRaxOffset));
}

template <typename T, typename Source>
const Op* Divide(Cpu& cpu, const Op* op) {
  T divisor = Source::template Get<T>(cpu, op);
  T upper = cpu.Get<T>(kUpper<T>);
  // The quotient fits exactly where the upper half is less than the divisor; that covers zero, too.
  if (upper >= divisor) Raise(x86::Vector::kDivideError);
  T quotient, remainder;
  if (upper == 0) {  // most divisions: the host's narrow division is several times faster
    T low = cpu.Get<T>(kRaxOffset);
    quotient = low / divisor;
    remainder = low % divisor;
  } else {
    WideUnsigned<T> dividend = Dividend<T>(cpu);
    quotient = static_cast<T>(dividend / divisor);
    remainder = static_cast<T>(dividend % divisor);
  }
  cpu.Set<T>(kRaxOffset, quotient);
  cpu.Set<T>(kUpper<T>, remainder);
  return cpu.Then(op);
}

template <typename T, typename Source>
const Op* DivideSigned(Cpu& cpu, const Op* op) {
  using S = WideSigned<T>;
  auto divisor = static_cast<S>(static_cast<Signed<T>>(Source::template Get<T>(cpu, op)));
  auto dividend = static_cast<S>(Dividend<T>(cpu));
  if (divisor == 0) Raise(x86::Vector::kDivideError);
  // The one division that overflows even the wide type; its quotient would not fit anyway.
  constexpr S kLeast = static_cast<S>(static_cast<WideUnsigned<T>>(1) << (2 * kBits<T> - 1));
  if (divisor == -1 && dividend == kLeast) Raise(x86::Vector::kDivideError);
  S quotient = dividend / divisor;
  if (quotient != static_cast<S>(static_cast<Signed<T>>(quotient))) {
    Raise(x86::Vector::kDivideError);
  }
  S remainder = dividend % divisor;
  cpu.Set<T>(kRaxOffset, static_cast<T>(quotient));
  cpu.Set<T>(kUpper<T>, static_cast<T>(remainder));
  return cpu.Then(op);
}

// One-operand forms: register or memory.
template <template <typename, typename> typename Make>
bool BindOne(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  return Install(op, BySize(instruction.Size(0), [&]<typename T>() -> Handler {
                   if (form == Form::kR) return Make<T, FromReg>::kRun;
                   return Make<T, FromMemory<Addressing::kChecked>>::kRun;
                 }));
}
template <typename T, typename Source>
struct MakeMultiply {
  static constexpr Handler kRun = Multiply<T, Source>;
};
template <typename T, typename Source>
struct MakeMultiplySigned {
  static constexpr Handler kRun = MultiplySignedWide<T, Source>;
};
template <typename T, typename Source>
struct MakeDivide {
  static constexpr Handler kRun = Divide<T, Source>;
};
template <typename T, typename Source>
struct MakeDivideSigned {
  static constexpr Handler kRun = DivideSigned<T, Source>;
};

template <typename Source>
Handler MultiplyHandler(const Instruction& instruction) {
  return ByWideSize(instruction.Size(0), [&]<typename T>() -> Handler {
    return instruction.operands.size() == 3 ? MultiplySignedImmediate<T, Source>
                                            : MultiplySignedRegister<T, Source>;
  });
}

bool BindImul(const Instruction& instruction, Op& op) {
  Form form = Arrange(instruction, op);
  switch (form) {
    case Form::kR:
    case Form::kM:
      return BindOne<MakeMultiplySigned>(instruction, op);
    case Form::kRR:
      return Install(op, MultiplyHandler<FromRm>(instruction));
    case Form::kRM:
      return Install(op, ByMemorySource(op, [&]<typename Source>() {
                       return MultiplyHandler<Source>(instruction);
                     }));
    default:
      return false;
  }
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_MUL, BindOne<MakeMultiply>},
    {ZYDIS_MNEMONIC_IMUL, BindImul},
    {ZYDIS_MNEMONIC_DIV, BindOne<MakeDivide>},
    {ZYDIS_MNEMONIC_IDIV, BindOne<MakeDivideSigned>},
};

}  // namespace

std::span<const Binding> MultiplyBindings() { return kBindings; }

}  // namespace trapline::engine::soft

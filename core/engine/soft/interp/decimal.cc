// SPDX-License-Identifier: Apache-2.0
// Decimal adjustment: AAA, AAS, AAM, AAD, DAA and DAS, which 64-bit mode does not have (SDM volume
// 2).
#include "core/engine/soft/interp/access.h"

namespace trapline::engine::soft {
namespace {

namespace f = x86::rflags;

constexpr uint8_t kAl = SlotOffset(x86::kRax);
constexpr uint8_t kAh = SlotOffset(x86::kRax) + 1;

// SF, ZF and PF of a byte with the given CF and AF.
void SetByteFlags(Cpu& cpu, uint8_t result, bool carry, bool adjust) {
  cpu.lazy.SetResult<uint8_t>(result, carry, false);
  if (adjust) cpu.lazy.SetKnown(cpu.lazy.Materialize() | f::kAf);
}

template <bool kAdd>
const Op* AsciiAdjust(Cpu& cpu, const Op* op) {
  auto ax = cpu.Get<uint16_t>(kAl);
  bool adjusts = (ax & 0xf) > 9 || cpu.lazy.Adjust();
  if (adjusts) ax = static_cast<uint16_t>(kAdd ? ax + 0x106 : ax - 0x106);
  ax &= 0xff0f;
  cpu.Set<uint16_t>(kAl, ax);
  SetByteFlags(cpu, static_cast<uint8_t>(ax), adjusts, adjusts);
  return cpu.Then(op);
}

template <bool kAdd>
const Op* DecimalAdjust(Cpu& cpu, const Op* op) {
  auto al = cpu.Get<uint8_t>(kAl);
  uint8_t old = al;
  bool carry = cpu.lazy.Carry(), adjust = (al & 0xf) > 9 || cpu.lazy.Adjust();
  bool old_carry = carry;
  if (adjust) {
    carry = carry || (kAdd ? al > 0xff - 6 : al < 6);
    al = static_cast<uint8_t>(kAdd ? al + 6 : al - 6);
  }
  if (old > 0x99 || old_carry) {
    al = static_cast<uint8_t>(kAdd ? al + 0x60 : al - 0x60);
    carry = true;
  } else if (kAdd) {
    carry = false;
  }
  cpu.Set<uint8_t>(kAl, al);
  SetByteFlags(cpu, al, carry, adjust);
  return cpu.Then(op);
}

const Op* AdjustAfterMultiply(Cpu& cpu, const Op* op) {
  auto base = static_cast<uint8_t>(op->imm);
  if (base == 0) Raise(x86::Vector::kDivideError);
  auto al = cpu.Get<uint8_t>(kAl);
  cpu.Set<uint8_t>(kAh, al / base);
  cpu.Set<uint8_t>(kAl, al % base);
  SetByteFlags(cpu, al % base, false, false);
  return cpu.Then(op);
}

const Op* AdjustBeforeDivide(Cpu& cpu, const Op* op) {
  auto al = static_cast<uint8_t>(cpu.Get<uint8_t>(kAl) +
                                 cpu.Get<uint8_t>(kAh) * static_cast<uint8_t>(op->imm));
  cpu.Set<uint16_t>(kAl, al);
  SetByteFlags(cpu, al, false, false);
  return cpu.Then(op);
}

template <Handler kRun>
bool BindTo(const Instruction&, Op& op) {
  return Install(op, kRun);
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_AAA, BindTo<AsciiAdjust<true>>},
    {ZYDIS_MNEMONIC_AAS, BindTo<AsciiAdjust<false>>},
    {ZYDIS_MNEMONIC_DAA, BindTo<DecimalAdjust<true>>},
    {ZYDIS_MNEMONIC_DAS, BindTo<DecimalAdjust<false>>},
    {ZYDIS_MNEMONIC_AAM, BindTo<AdjustAfterMultiply>},
    {ZYDIS_MNEMONIC_AAD, BindTo<AdjustBeforeDivide>},
};

}  // namespace

std::span<const Binding> DecimalBindings() { return kBindings; }

}  // namespace trapline::engine::soft

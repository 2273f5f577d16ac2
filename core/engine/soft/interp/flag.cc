// SPDX-License-Identifier: Apache-2.0
// Single flags: CLC, STC, CMC, CLD, STD, LAHF, SAHF and SALC (SDM volume 2; SALC is in no manual,
// but in every CPU).
#include "core/engine/soft/interp/access.h"

namespace trapline::engine::soft {
namespace {

namespace f = x86::rflags;

constexpr uint8_t kAl = SlotOffset(x86::kRax);
constexpr uint8_t kAh = SlotOffset(x86::kRax) + 1;
constexpr uint64_t kInAh = f::kSf | f::kZf | f::kAf | f::kPf | f::kCf;

template <bool kCarry>
const Op* PutCarry(Cpu& cpu, const Op* op) {
  cpu.lazy.SetCarry(kCarry);
  return cpu.Then(op);
}

const Op* ComplementCarry(Cpu& cpu, const Op* op) {
  cpu.lazy.SetCarry(!cpu.lazy.Carry());
  return cpu.Then(op);
}

template <bool kDown>
const Op* PutDirection(Cpu& cpu, const Op* op) {
  cpu.rflags_rest = kDown ? cpu.rflags_rest | f::kDf : cpu.rflags_rest & ~f::kDf;
  return cpu.Then(op);
}

const Op* LoadAh(Cpu& cpu, const Op* op) {
  cpu.Set<uint8_t>(kAh, static_cast<uint8_t>((cpu.lazy.Materialize() & kInAh) | f::kReserved1));
  return cpu.Then(op);
}

const Op* StoreAh(Cpu& cpu, const Op* op) {
  cpu.lazy.SetKnown((cpu.lazy.Materialize() & ~kInAh) | (cpu.Get<uint8_t>(kAh) & kInAh));
  return cpu.Then(op);
}

const Op* SetAlFromCarry(Cpu& cpu, const Op* op) {
  cpu.Set<uint8_t>(kAl, cpu.lazy.Carry() ? 0xff : 0);
  return cpu.Then(op);
}

template <Handler kRun>
bool BindTo(const Instruction&, Op& op) {
  return Install(op, kRun);
}

constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_CLC, BindTo<PutCarry<false>>},
    {ZYDIS_MNEMONIC_STC, BindTo<PutCarry<true>>},
    {ZYDIS_MNEMONIC_CMC, BindTo<ComplementCarry>},
    {ZYDIS_MNEMONIC_CLD, BindTo<PutDirection<false>>},
    {ZYDIS_MNEMONIC_STD, BindTo<PutDirection<true>>},
    {ZYDIS_MNEMONIC_LAHF, BindTo<LoadAh>},
    {ZYDIS_MNEMONIC_SAHF, BindTo<StoreAh>},
    {ZYDIS_MNEMONIC_SALC, BindTo<SetAlFromCarry>},
};

}  // namespace

std::span<const Binding> FlagBindings() { return kBindings; }

}  // namespace trapline::engine::soft

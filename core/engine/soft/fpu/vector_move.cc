// SPDX-License-Identifier: Apache-2.0
// The moves: no arithmetic, no flags, so no need for the host.
#include "core/engine/soft/fpu/bind.h"

namespace trapline::engine::soft {
namespace {

template <bool kAligned>
const Op* LoadWhole(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  uint64_t linear = cpu.Address(op, 16);
  if (kAligned) RequireAligned(linear);
  cpu.fpu.xmm[op->reg] = cpu.Load<Xmm>(linear);
  return op + 1;
}
template <bool kAligned>
const Op* StoreWhole(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  uint64_t linear = cpu.AddressForWrite(op, 16);
  if (kAligned) RequireAligned(linear);
  cpu.Store<Xmm>(linear, cpu.fpu.xmm[op->reg]);
  return cpu.Next(op);
}
const Op* CopyWhole(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  cpu.fpu.xmm[op->reg] = cpu.fpu.xmm[op->rm];
  return op + 1;
}
const Op* CopyWholeBack(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  cpu.fpu.xmm[op->rm] = cpu.fpu.xmm[op->reg];
  return op + 1;
}

// MOVD, MOVQ, MOVSS, MOVSD from memory: the rest is cleared.
template <typename T>
const Op* LoadLow(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  cpu.fpu.xmm[op->reg] = {cpu.Load<T>(cpu.Address(op, sizeof(T))), 0};
  return op + 1;
}
template <typename T>
const Op* StoreLow(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  cpu.Store<T>(cpu.AddressForWrite(op, sizeof(T)), static_cast<T>(cpu.fpu.xmm[op->reg].low));
  return cpu.Next(op);
}
template <typename T>
const Op* FromGeneral(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  cpu.fpu.xmm[op->reg] = {cpu.Get<T>(op->rm), 0};
  return op + 1;
}
template <typename T>
const Op* ToGeneral(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  cpu.Set<T>(op->rm, static_cast<T>(cpu.fpu.xmm[op->reg].low));
  return op + 1;
}
// MOVQ between registers clears the upper half.
const Op* CopyLow(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  cpu.fpu.xmm[op->reg] = {cpu.fpu.xmm[op->rm].low, 0};
  return op + 1;
}
const Op* CopyLowBack(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  cpu.fpu.xmm[op->rm] = {cpu.fpu.xmm[op->reg].low, 0};
  return op + 1;
}

// MOVSS and MOVSD between registers: the rest of the destination stays.
template <typename T, bool kBack>
const Op* MergeLow(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  const Xmm& from = cpu.fpu.xmm[kBack ? op->reg : op->rm];
  std::memcpy(&cpu.fpu.xmm[kBack ? op->rm : op->reg], &from, sizeof(T));
  return op + 1;
}

// MOVLPS, MOVHPS and their doubles: one half, the other stays.
template <bool kHigh>
const Op* LoadHalf(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  uint64_t value = cpu.Load<uint64_t>(cpu.Address(op, 8));
  (kHigh ? cpu.fpu.xmm[op->reg].high : cpu.fpu.xmm[op->reg].low) = value;
  return op + 1;
}
template <bool kHigh>
const Op* StoreHalf(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  const Xmm& value = cpu.fpu.xmm[op->reg];
  cpu.Store<uint64_t>(cpu.AddressForWrite(op, 8), kHigh ? value.high : value.low);
  return cpu.Next(op);
}

bool IsXmm(const Instruction& in, unsigned i) {
  return in.IsRegister(i) && ZydisRegisterGetClass(in.operands[i].reg.value) == ZYDIS_REGCLASS_XMM;
}

bool BindWhole(const Instruction& in, Op& op, bool aligned) {
  bool load = IsXmm(in, 0);
  if (!(op.flags & kOpMemory)) {
    bool reg_first = in.operands[0].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG;
    op.run = reg_first ? CopyWhole : CopyWholeBack;
  } else if (load) {
    op.run = aligned ? LoadWhole<true> : LoadWhole<false>;
  } else {
    op.run = aligned ? StoreWhole<true> : StoreWhole<false>;
  }
  return true;
}

template <bool kHigh>
bool BindHalf(const Instruction& in, Op& op) {
  if (!(op.flags & kOpMemory)) return false;
  op.run = IsXmm(in, 0) ? LoadHalf<kHigh> : StoreHalf<kHigh>;
  return true;
}

// MOVD and MOVQ with an XMM register on one side at least; those of MMX are not ours.
bool BindScalar(const Instruction& in, Op& op) {
  bool to_xmm = IsXmm(in, 0), from_xmm = IsXmm(in, 1);
  unsigned size = in.mnemonic() == ZYDIS_MNEMONIC_MOVD ? 4 : 8;
  if (to_xmm && from_xmm) {
    op.run = in.operands[0].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG ? CopyLow : CopyLowBack;
  } else if (to_xmm && in.IsMemory(1)) {
    op.run = size == 4 ? LoadLow<uint32_t> : LoadLow<uint64_t>;
  } else if (from_xmm && in.IsMemory(0)) {
    op.run = size == 4 ? StoreLow<uint32_t> : StoreLow<uint64_t>;
  } else if (to_xmm && in.IsRegister(1) &&
             ZydisRegisterGetClass(in.operands[1].reg.value) != ZYDIS_REGCLASS_MMX) {
    op.run = size == 4 ? FromGeneral<uint32_t> : FromGeneral<uint64_t>;
  } else if (from_xmm && in.IsRegister(0) &&
             ZydisRegisterGetClass(in.operands[0].reg.value) != ZYDIS_REGCLASS_MMX) {
    op.run = size == 4 ? ToGeneral<uint32_t> : ToGeneral<uint64_t>;
  } else {
    return false;
  }
  return true;
}

template <typename T>
bool BindFloat(const Instruction& in, Op& op) {
  if (!(op.flags & kOpMemory)) {
    bool reg_first = in.operands[0].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG;
    op.run = reg_first ? MergeLow<T, false> : MergeLow<T, true>;
  } else {
    op.run = IsXmm(in, 0) ? LoadLow<T> : StoreLow<T>;
  }
  return true;
}

}  // namespace

bool BindVectorMove(const Instruction& in, Op& op) {
  switch (in.mnemonic()) {
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_MOVNTDQ:
      return BindWhole(in, op, true);
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
      return BindWhole(in, op, false);
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
      return BindHalf<false>(in, op);
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
      return BindHalf<true>(in, op);
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
      return BindScalar(in, op);
    case ZYDIS_MNEMONIC_MOVSS:
      return BindFloat<uint32_t>(in, op);
    case ZYDIS_MNEMONIC_MOVSD:
      return BindFloat<uint64_t>(in, op);
    default:
      return false;
  }
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// SSE and SSE2 on XMM registers, by the host (host_code.h).
#include "core/engine/soft/fpu/bind.h"
#include "core/engine/soft/fpu/encoding.h"
#include "core/engine/soft/fpu/host_code.h"

namespace trapline::engine::soft {
namespace {

HostResult Execute(Cpu& cpu, const Op* op, Xmm* destination, const void* source, bool uses_mxcsr) {
  auto code = reinterpret_cast<VectorCode>(reinterpret_cast<uintptr_t>(op->aux));
  if (!uses_mxcsr) return code(destination, source, nullptr, 0);
  uint32_t mxcsr = QuietMxcsr(cpu);
  HostResult result = code(destination, source, &mxcsr, 0);
  AccountSse(cpu, mxcsr);
  return result;
}

// The source operand: a register's storage, or memory (or a general register) copied into a buffer.
enum class From { kXmm, kMemory, kGeneral };
template <From kFrom, bool kAligned>
const void* Source(Cpu& cpu, const Op* op, Xmm* buffer) {
  if constexpr (kFrom == From::kXmm) return &cpu.fpu.xmm[op->rm];
  if constexpr (kFrom == From::kGeneral) {
    *buffer = {cpu.Get<uint64_t>(op->rm), 0};
  } else {
    unsigned size = op->operand_size;
    uint64_t linear = cpu.Address(op, size);
    if (kAligned) RequireAligned(linear);
    if (size == 16) {
      *buffer = cpu.Load<Xmm>(linear);
    } else {
      *buffer = {};
      cpu.ReadLinear(linear, buffer, size);
    }
  }
  return buffer;
}

template <From kFrom, bool kAligned, bool kMxcsr>
const Op* ToXmm(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  Xmm buffer, destination = cpu.fpu.xmm[op->reg];
  const void* source = Source<kFrom, kAligned>(cpu, op, &buffer);
  Execute(cpu, op, &destination, source, kMxcsr);
  cpu.fpu.xmm[op->reg] = destination;
  return op + 1;
}
// COMISS and its like: only RFLAGS changes.
template <From kFrom>
const Op* ToFlags(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  Xmm buffer, destination = cpu.fpu.xmm[op->reg];
  const void* source = Source<kFrom, false>(cpu, op, &buffer);
  cpu.lazy.SetKnown(Execute(cpu, op, &destination, source, true).flags);
  return op + 1;
}
// MOVMSKPS, PMOVMSKB, PEXTRW, CVTSD2SI: to a general register.
template <From kFrom, typename T>
const Op* ToGeneral(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  Xmm buffer, unused{};
  const void* source = Source<kFrom, false>(cpu, op, &buffer);
  cpu.Set<T>(op->reg, static_cast<T>(Execute(cpu, op, &unused, source, true).rax));
  return op + 1;
}
// Shifts by an immediate: the operand is in ModRM.rm.
const Op* ShiftByImmediate(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  Execute(cpu, op, &cpu.fpu.xmm[op->rm], &cpu.fpu.xmm[op->rm], false);
  return op + 1;
}

ZydisRegisterClass ClassOf(const Instruction& in, unsigned i) {
  return in.IsRegister(i) ? ZydisRegisterGetClass(in.operands[i].reg.value)
                          : ZYDIS_REGCLASS_INVALID;
}
bool IsGeneralClass(ZydisRegisterClass c) {
  return c == ZYDIS_REGCLASS_GPR32 || c == ZYDIS_REGCLASS_GPR64;
}

bool RaisesExceptions(const Instruction& in) {
  return in.mnemonic() == ZYDIS_MNEMONIC_CVTPI2PS ||
         in.info.meta.exception_class == ZYDIS_EXCEPTION_CLASS_SSE2 ||
         in.info.meta.exception_class == ZYDIS_EXCEPTION_CLASS_SSE3;
}

template <From kFrom>
Handler PickToXmm(bool aligned, bool mxcsr) {
  if (aligned) return mxcsr ? ToXmm<kFrom, true, true> : ToXmm<kFrom, true, false>;
  return mxcsr ? ToXmm<kFrom, false, true> : ToXmm<kFrom, false, false>;
}

}  // namespace

void AccountSse(Cpu& cpu, uint32_t after) {
  constexpr uint32_t kExceptionFlags = 0x3f, kMaskShift = 7;
  constexpr uint32_t kBeforeComputing = 0x07;  // invalid, denormal, divide by zero
  uint32_t& mxcsr = cpu.fpu.mxcsr;
  uint32_t raised = after & kExceptionFlags;
  uint32_t unmasked = raised & ~(mxcsr >> kMaskShift);
  if (unmasked == 0) {
    mxcsr |= raised;
    return;
  }
  mxcsr |= unmasked & kBeforeComputing ? raised & kBeforeComputing : raised;
  if (!(cpu.cr4 & x86::cr4::kOsxmmexcpt)) RaiseUd();
  Raise(x86::Vector::kSimdError);
}

bool BindVector(const Instruction& in, Op& op) {
  ZydisRegisterClass first = ClassOf(in, 0), second = ClassOf(in, 1);
  if (first == ZYDIS_REGCLASS_MMX || second == ZYDIS_REGCLASS_MMX) return false;
  if (in.mnemonic() == ZYDIS_MNEMONIC_MASKMOVDQU) return false;
  bool memory = op.flags & kOpMemory;
  bool mxcsr = RaisesExceptions(in);
  if (in.operands.size() < 2 || (first != ZYDIS_REGCLASS_XMM && !IsGeneralClass(first)))
    return false;

  bool shift = in.IsImmediate(1) && first == ZYDIS_REGCLASS_XMM;
  if (shift) {
    auto code = Reencode(in.info, {.reg = in.info.raw.modrm.reg, .rm = 0, .memory = false});
    op.aux = reinterpret_cast<const void*>(VectorCodeFor(code, false, false));
    op.run = ShiftByImmediate;
    return op.aux != nullptr;
  }
  bool from_general = IsGeneralClass(second);
  bool in_register = !memory && !from_general;
  auto code = Reencode(in.info, {.reg = 0, .rm = 1, .memory = !in_register});
  // A general register as the source is handed over in memory, of which PINSRW reads two bytes,
  // CVTSI2SD four or eight.
  bool to_general = IsGeneralClass(first);
  bool flags = in.mnemonic() == ZYDIS_MNEMONIC_COMISS || in.mnemonic() == ZYDIS_MNEMONIC_COMISD ||
               in.mnemonic() == ZYDIS_MNEMONIC_UCOMISS || in.mnemonic() == ZYDIS_MNEMONIC_UCOMISD;
  op.aux =
      reinterpret_cast<const void*>(VectorCodeFor(code, in_register, mxcsr || to_general || flags));
  if (!op.aux) return false;
  if (memory) op.operand_size = static_cast<uint8_t>(in.Size(1));
  if (to_general) {
    bool wide = first == ZYDIS_REGCLASS_GPR64;
    if (memory) {
      op.run = wide ? ToGeneral<From::kMemory, uint64_t> : ToGeneral<From::kMemory, uint32_t>;
    } else {
      op.run = wide ? ToGeneral<From::kXmm, uint64_t> : ToGeneral<From::kXmm, uint32_t>;
    }
    return true;
  }
  if (flags) {
    op.run = memory ? ToFlags<From::kMemory> : ToFlags<From::kXmm>;
    return true;
  }
  bool aligned = memory && in.Size(1) == 16;
  op.run = memory         ? PickToXmm<From::kMemory>(aligned, mxcsr)
           : from_general ? PickToXmm<From::kGeneral>(false, mxcsr)
                          : PickToXmm<From::kXmm>(false, mxcsr);
  return true;
}

}  // namespace trapline::engine::soft

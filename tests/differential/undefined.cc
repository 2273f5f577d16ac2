// SPDX-License-Identifier: Apache-2.0
// Flags: SDM volume 1, appendix A (EFLAGS cross-reference), and each instruction's page in
// volume 2. Order of faults: SDM volume 3, "Priority Among Simultaneous Exceptions and Interrupts":
// all faults on executing an instruction are one class, and "exceptions within each class are
// implementation-dependent and may vary from processor to processor".
#include "tests/differential/undefined.h"

#include <algorithm>
#include <cstring>

#include "core/x86/exceptions.h"
#include "core/x86/flags.h"
#include "core/x86/paging.h"
#include "tests/differential/shapes.h"

namespace trapline::differential {
namespace {

namespace f = x86::rflags;

// The count of a shift or rotation, reduced as the processor does.
unsigned CountOf(const Instance& instance, const ZydisDecodedInstruction& info,
                 const ZydisDecodedOperand* operands) {
  const ZydisDecodedOperand& count = operands[info.operand_count_visible - 1];
  uint64_t value = instance.in.gpr[x86::kRcx];
  if (count.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) value = count.imm.value.u;
  return static_cast<unsigned>(value & (operands[0].size == 64 ? 63 : 31));
}

uint64_t ShiftFlags(unsigned count, unsigned size, bool arithmetic) {
  if (count == 0) return 0;
  uint64_t flags = f::kAf;
  if (count > 1) flags |= f::kOf;
  if (count >= size && !arithmetic) flags |= f::kCf;
  return flags;
}

// FIP, FCS, FOP, FDP and FDS in the images that FNSTENV and FNSAVE store (volume 1, figures 8-9 to
// 8-12): behind three words or double words.
Undefined::Bytes Pointers(uint64_t image, bool narrow) {
  return narrow ? Undefined::Bytes{image + 6, 8} : Undefined::Bytes{image + 12, 16};
}

bool HasRepeatPrefix(const ZydisDecodedInstruction& info) {
  return std::any_of(
      info.raw.prefixes, info.raw.prefixes + info.raw.prefix_count,
      [](const auto& prefix) { return prefix.value == 0xf2 || prefix.value == 0xf3; });
}

// With a 32-bit address size in 64-bit code, a repeated instruction that gets no element done (the
// count is zero, or the first one faults) has no result that SDM volume 1, section 3.4.1.1, could
// extend with zeros. AMD's processors leave its registers alone, Intel's clear upper halves, in
// MOVS and STOS those of the pointers too.
uint32_t IdleUpperHalves(const Instance& instance, const ZydisDecodedInstruction& info,
                         uint32_t pointers) {
  if (instance.compat || info.address_width != 32 || !HasRepeatPrefix(info)) return 0;
  return 1u << x86::kRcx | pointers;
}

// SDM volume 3, "Guaranteed Atomic Operations": "an x87 instruction or an SSE instruction that
// accesses data larger than a quadword may be implemented using multiple memory accesses", and
// where one of them faults "the effects of the completed accesses may be visible".
Undefined::Bytes StoredInPieces(const Instance& instance, const ZydisDecodedInstruction& info,
                                const ZydisDecodedOperand& operand) {
  bool x87 = info.meta.category == ZYDIS_CATEGORY_X87_ALU;
  bool stores = operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
                (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  if (!x87 || !stores || operand.size <= 64) return {};
  return {instance.target, operand.size / 8u};
}

bool IsOperandFault(uint8_t vector) {
  return vector == static_cast<uint8_t>(x86::Vector::kPageFault) ||
         vector == static_cast<uint8_t>(x86::Vector::kGeneralProtection) ||
         vector == static_cast<uint8_t>(x86::Vector::kStackFault);
}

bool IsPageFaultIn(const Outcome& outcome, uint64_t address, uint64_t size) {
  return outcome.vector == static_cast<uint8_t>(x86::Vector::kPageFault) &&
         outcome.fault_address - address < size;
}

// The address in a register that a string instruction has reached.
uint64_t Pointer(const Outcome& outcome, const ZydisDecodedInstruction& info, unsigned reg) {
  uint64_t value = outcome.out.gpr[reg];
  return info.address_width == 64 ? value : value & ((uint64_t{1} << info.address_width) - 1);
}

// CMPS reads two operands: whether this is what the one at (R)DI is refused for. A page fault is at
// its first byte, or at the page that it reaches into.
bool RefusesDestination(const Outcome& outcome, const ZydisDecodedInstruction& info) {
  uint64_t address = Pointer(outcome, info, x86::kRdi);
  bool canonical = static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16) == address;
  if (!canonical) return outcome.vector == static_cast<uint8_t>(x86::Vector::kGeneralProtection);
  return IsPageFaultIn(outcome, address, 1) ||
         (outcome.fault_address % x86::kPageSize == 0 &&
          IsPageFaultIn(outcome, address, info.operand_width / 8));
}

// BOUND reads two bounds: one outcome says that the index is below the first, the other that the
// second cannot be read.
bool BoundOrFault(const Instance& instance, const Outcome& a, const Outcome& b) {
  uint64_t half = instance.target_size / 2;
  return a.vector == static_cast<uint8_t>(x86::Vector::kBoundRange) &&
         IsPageFaultIn(b, instance.target + half, half);
}

// Whether an operand goes beyond offset FFFFFFFFH of a segment of 4 GiB (SDM volume 3, "Limit
// Checking"): "these accesses may or may not cause the indicated exceptions. Behavior is
// implementation-specific and may vary from one execution to another".
bool CrossesTop(const Instance& instance, const Outcome& outcome,
                const ZydisDecodedInstruction& info, const ZydisDecodedOperand* operands) {
  auto crosses = [](uint64_t address, uint64_t size) {
    return address <= 0xffffffff && address + size > uint64_t{1} << 32;
  };
  if (!instance.compat) return false;
  if (instance.target_size != 0) return crosses(instance.target, instance.target_size);
  if (info.meta.category != ZYDIS_CATEGORY_STRINGOP) return false;
  return std::any_of(operands, operands + info.operand_count, [&](const auto& operand) {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) return false;
    auto pointer = static_cast<unsigned>(ZydisRegisterGetId(operand.mem.base));
    return crosses(Pointer(outcome, info, pointer), operand.size / 8);
  });
}

bool AreTwoFaults(const Instance& instance, const Outcome& native, const Outcome& soft,
                  const ZydisDecodedInstruction& info, const ZydisDecodedOperand* operands) {
  if (native.out.rip != instance.in.rip || soft.out.rip != instance.in.rip) return false;
  if (info.mnemonic == ZYDIS_MNEMONIC_BOUND) {
    if (BoundOrFault(instance, native, soft) || BoundOrFault(instance, soft, native)) return true;
  }
  if (!IsOperandFault(native.vector) || !IsOperandFault(soft.vector)) return false;
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ:
      if (RefusesDestination(native, info) || RefusesDestination(soft, info)) return true;
      break;
    default:
      break;
  }
  return native.vector != soft.vector && CrossesTop(instance, native, info, operands);
}

uint16_t Fsw(const State& state) {
  uint16_t fsw;
  std::memcpy(&fsw, &state.fxsave[2], sizeof fsw);
  return fsw;
}

bool FaultedAndWithheld(const Instance& instance, const Outcome& faulted, const Outcome& withheld) {
  constexpr uint16_t kExceptions = 0x3f, kErrorSummary = 0x80;
  uint16_t fcw;
  std::memcpy(&fcw, instance.in.fxsave.data(), sizeof fcw);
  uint16_t fsw = Fsw(withheld.out);
  return faulted.out.rip == instance.in.rip && IsOperandFault(faulted.vector) &&
         Fsw(faulted.out) == Fsw(instance.in) &&
         withheld.out.rip == instance.in.rip + instance.length && (fsw & kErrorSummary) &&
         (fsw & ~fcw & kExceptions);
}

bool IsX87Store(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FST:
    case ZYDIS_MNEMONIC_FSTP:
    case ZYDIS_MNEMONIC_FIST:
    case ZYDIS_MNEMONIC_FISTP:
    case ZYDIS_MNEMONIC_FBSTP:
      return true;
    default:
      return false;
  }
}

}  // namespace

Undefined WhatIsUndefined(const Instance& instance) {
  Undefined undefined;
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (!DecodeTested(instance.compat ? Mode::kCompat : Mode::k64, instance.code.data(),
                    instance.length, &info, operands)) {
    return undefined;
  }
  unsigned size = operands[0].size;
  undefined.memory_of_fault = StoredInPieces(instance, info, operands[0]);
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_TEST:
      undefined.flags = f::kAf;
      break;
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_IMUL:
      undefined.flags = f::kSf | f::kZf | f::kAf | f::kPf;
      break;
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
      undefined.flags = f::kArithmetic;
      break;
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
      undefined.flags = ShiftFlags(CountOf(instance, info, operands), size, false);
      break;
    case ZYDIS_MNEMONIC_SAR:
      undefined.flags = ShiftFlags(CountOf(instance, info, operands), size, true);
      break;
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD: {
      unsigned count = CountOf(instance, info, operands);
      undefined.flags = ShiftFlags(count, size, true);
      undefined.result = count > size;
      break;
    }
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
      if (CountOf(instance, info, operands) > 1) undefined.flags = f::kOf;
      break;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
      undefined.flags = f::kOf | f::kSf | f::kAf | f::kPf;
      break;
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
      // With a source of zero the destination is undefined to Intel; both vendors leave it alone.
      undefined.flags = f::kCf | f::kOf | f::kSf | f::kAf | f::kPf;
      break;
    case ZYDIS_MNEMONIC_AAA:
    case ZYDIS_MNEMONIC_AAS:
      undefined.flags = f::kOf | f::kSf | f::kZf | f::kPf;
      break;
    case ZYDIS_MNEMONIC_AAM:
    case ZYDIS_MNEMONIC_AAD:
      undefined.flags = f::kOf | f::kAf | f::kCf;
      break;
    case ZYDIS_MNEMONIC_DAA:
    case ZYDIS_MNEMONIC_DAS:
      undefined.flags = f::kOf;
      break;
    case ZYDIS_MNEMONIC_MOVSXD:
      // Into 16 bits: Intel's processors read 16 bits of memory, AMD's 32.
      undefined.result = size == 16;
      break;
    case ZYDIS_MNEMONIC_NOP:
      // 0F 0D on a register: a NOP to Intel's processors, an invalid opcode to AMD's.
      undefined.result = info.opcode_map == ZYDIS_OPCODE_MAP_0F && info.opcode == 0x0d;
      break;
    case ZYDIS_MNEMONIC_BSWAP:
      undefined.result = size == 16;
      break;
    case ZYDIS_MNEMONIC_CMPXCHG:
      // One that fails does not write its destination: AMD's processors leave the upper half alone,
      // Intel's clear it.
      if (size == 32 && operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        undefined.upper_halves = 1u << ZydisRegisterGetId(operands[0].reg.value);
      }
      break;
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
      // AMD's processors let a repeat prefix decide which of the two it is.
      undefined.result = HasRepeatPrefix(info);
      break;
    case ZYDIS_MNEMONIC_PAUSE:
      // F3 90 with REX.B: to Intel's processors PAUSE, to AMD's XCHG with R8 (APM volume 3, XCHG)
      // behind a prefix that is reserved there (SDM volume 2, section 2.1.1).
      undefined.result = info.raw.rex.B;
      break;
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ:
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ:
      // A fault in a later iteration: Intel's manual promises the flags from before the
      // instruction, AMD's processors have those of the last iteration.
      undefined.flags_of_fault = f::kArithmetic;
      undefined.idle_upper_halves = IdleUpperHalves(instance, info, 0);
      break;
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ:
      undefined.idle_upper_halves = IdleUpperHalves(instance, info, 0);
      break;
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
      undefined.idle_upper_halves = IdleUpperHalves(instance, info, 1u << x86::kRdi);
      break;
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ:
      undefined.idle_upper_halves =
          IdleUpperHalves(instance, info, 1u << x86::kRsi | 1u << x86::kRdi);
      break;
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVNTQ:
      // SDM volume 3, "Effects of MMX Instructions on x87 FPU State", has what becomes of TOP and
      // tags, not how much of that a store does before it faults. AMD's processors do nothing (APM
      // volume 1: "atomically"), some of Intel's clear TOP, others set tags (erratum "Faulting MMX
      // Instruction May Incorrectly Update x87 FPU Tag Word").
      undefined.mmx_transition_of_fault =
          operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
          ZydisRegisterGetClass(operands[1].reg.value) == ZYDIS_REGCLASS_MMX;
      break;
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
      // Whether the permission is looked at where a repeat count is zero.
      undefined.result =
          instance.in.gpr[x86::kRcx] == 0 ||
          (info.address_width == 32 && static_cast<uint32_t>(instance.in.gpr[x86::kRcx]) == 0) ||
          (info.address_width == 16 && static_cast<uint16_t>(instance.in.gpr[x86::kRcx]) == 0);
      break;
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD:
      // How many registers were loaded when the stack ended.
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
      // What of an operand is looked at that is masked off in part or as a whole.
      undefined.result_of_fault = true;
      break;
    case ZYDIS_MNEMONIC_UD1:
      // Whether its ModRM byte and what belongs to that is fetched.
      undefined.result = instance.in.rip + instance.length > kCode + kCodeSize;
      break;
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
      // AMD's processors have no form with a 64-bit offset.
      undefined.result = info.operand_width == 64;
      break;
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
      undefined.fault_offset = true;
      break;
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
      undefined.fault_offset = true;
      undefined.memory[0] = Pointers(instance.target, info.operand_width == 16);
      break;
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
      undefined.fault_offset = true;
      undefined.memory[0] = {instance.target + 6, 18};  // FOP, FIP, FDP
      undefined.memory[1] = {instance.target + 28, 4};  // MXCSR_MASK
      break;
    default:
      break;
  }
  return undefined;
}

Reports MayReport(const Instance& instance, const Outcome& native, const Outcome& soft) {
  // Most agree, and decoding takes longer than looking.
  if (native.out.rip == soft.out.rip && native.vector == soft.vector &&
      native.fault_address == soft.fault_address)
    return Reports::kTheSame;
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (!DecodeTested(instance.compat ? Mode::kCompat : Mode::k64, instance.code.data(),
                    instance.length, &info, operands)) {
    return Reports::kTheSame;
  }
  if (AreTwoFaults(instance, native, soft, info, operands)) return Reports::kTwoFaults;
  if (IsX87Store(info.mnemonic) &&
      (FaultedAndWithheld(instance, native, soft) || FaultedAndWithheld(instance, soft, native))) {
    return Reports::kFaultOrWithheld;
  }
  return Reports::kTheSame;
}

bool PrecisionUndefined(uint8_t vector, uint32_t mxcsr) {
  constexpr uint32_t kOverflowOrUnderflow = 0x18;
  return vector == static_cast<uint8_t>(x86::Vector::kSimdError) && (mxcsr & kOverflowOrUnderflow);
}

void ClearUndefined(std::span<std::byte, kFxsaveSize> fxsave) {
  auto clear = [&](size_t from, size_t to) {
    std::fill(fxsave.begin() + static_cast<ptrdiff_t>(from),
              fxsave.begin() + static_cast<ptrdiff_t>(to), std::byte{0});
  };
  clear(5, 24);   // a reserved byte, FOP, FIP, FDP
  clear(28, 32);  // MXCSR_MASK
  for (size_t st = 0; st < 8; ++st) clear(32 + st * 16 + 10, 32 + st * 16 + 16);
}

void FollowMmxTransition(const State& in, const State& native, State* soft) {
  constexpr uint16_t kTop = 7 << 11;
  constexpr std::byte kAllValid{0xff};
  constexpr ptrdiff_t kSlot = 16;
  if (Fsw(*soft) != Fsw(in) || soft->fxsave[4] != in.fxsave[4]) return;
  if (native.fxsave[4] == kAllValid) soft->fxsave[4] = kAllValid;
  if ((Fsw(native) & kTop) != 0) return;
  // The image has registers by their place from TOP on, which physical ones keep.
  auto stack = std::span(soft->fxsave).subspan(32, 8 * kSlot);
  std::rotate(stack.begin(), stack.end() - (Fsw(*soft) & kTop) / (1 << 11) * kSlot, stack.end());
  soft->fxsave[3] &= ~std::byte{kTop >> 8};
}

}  // namespace trapline::differential

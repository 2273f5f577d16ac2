// SPDX-License-Identifier: Apache-2.0
// Flags: SDM volume 1, appendix A (EFLAGS cross-reference), and each instruction's page in
// volume 2.
#include "tests/differential/undefined.h"

#include <algorithm>

#include "core/x86/exceptions.h"
#include "core/x86/flags.h"
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
      undefined.result = (info.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                                             ZYDIS_ATTRIB_HAS_REPNE)) != 0;
      for (unsigned i = 0; i < info.raw.prefix_count; ++i) {
        uint8_t prefix = info.raw.prefixes[i].value;
        undefined.result = undefined.result || prefix == 0xf2 || prefix == 0xf3;
      }
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

}  // namespace trapline::differential

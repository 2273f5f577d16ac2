// SPDX-License-Identifier: Apache-2.0
// What instructions use without naming it: string registers, the stack, branch targets, selectors,
// values that make a division or a comparison come out one way or the other, floating-point images.
#include <algorithm>
#include <cstring>

#include "core/x86/flags.h"
#include "tests/differential/generator.h"

namespace trapline::differential {
namespace {

constexpr uint16_t kSelectors[] = {0,    3,    0x23, 0x2b, 0x33,   0x20,
                                   0x28, 0x10, 0x18, 0x0b, 0xfff8, 0x2f};
constexpr uint16_t kDataSelectors[] = {0, 2, 0x2b, 0x28, 0x23, 0x33, 0x18, 0x10, 0xfff8, 0x2f};
constexpr uint16_t kStackSelectors[] = {0x2b, 0x2b, 0, 3, 0x28, 0x33, 0x18, 0xfff8, 0x2f};

template <typename T>
void Put(std::span<std::byte> bytes, size_t at, T value) {
  if (at + sizeof value <= bytes.size()) std::memcpy(&bytes[at], &value, sizeof value);
}

}  // namespace

bool Generator::ImplyRegisters(Draft& draft) {
  const ZydisDecodedInstruction& info = draft.info;
  switch (info.meta.category) {
    case ZYDIS_CATEGORY_STRINGOP:
      return ImplyString(draft);
    default:
      break;
  }
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_XLAT: {
      for (unsigned i = 0; i < info.operand_count; ++i) {
        if (draft.operands[i].type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
        uint64_t base = SegmentBase(draft.operands[i].mem.segment);
        if (info.address_width == 32 && base > 0xffffffff) return false;
        SetGpr(draft, ZYDIS_REGISTER_RBX, Target(256, false) - base);
      }
      return true;
    }
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU: {
      for (unsigned i = 0; i < info.operand_count; ++i) {
        if (draft.operands[i].type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
        uint64_t base = SegmentBase(draft.operands[i].mem.segment);
        if (info.address_width == 32 && base > 0xffffffff) return false;
        // What a byte that is masked off does to a fault is up to the implementation.
        SetGpr(draft, ZYDIS_REGISTER_RDI, kData + inputs_.Below(kDataSize - 16) - base);
      }
      return true;
    }
    case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_LEAVE:
      draft.gpr(x86::kRbp) = kStack + 0x600 + inputs_.Below(0x400);
      if (info.mnemonic == ZYDIS_MNEMONIC_ENTER) {
        Instance& instance = *draft.instance;
        instance.code[info.raw.imm[0].offset + 1] &= 1;
        instance.code[info.raw.imm[1].offset] &= 0x3f;
      }
      return true;
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
      ImplyQuotient(draft);
      return true;
    case ZYDIS_MNEMONIC_LOOP:
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
    case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JRCXZ:
      if (inputs_.OneIn(2)) SetGpr(draft, ZYDIS_REGISTER_RCX, inputs_.Below(3));
      return ImplyBranch(draft);
    case ZYDIS_MNEMONIC_WRGSBASE:
      // Canonical, mostly.
      if (!inputs_.OneIn(8)) {
        auto number = static_cast<unsigned>(ZydisRegisterGetId(draft.operands[0].reg.value));
        draft.gpr(number) = static_cast<uint64_t>(static_cast<int64_t>(inputs_.Random()) >> 17);
      }
      return true;
    default:
      break;
  }
  if (info.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE) return ImplyBranch(draft);
  return ImplySelector(draft);
}

bool Generator::ImplyString(Draft& draft) {
  const ZydisDecodedInstruction& info = draft.info;
  for (unsigned i = 0; i < info.operand_count; ++i) {
    const ZydisDecodedOperand& operand = draft.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    uint64_t base = SegmentBase(operand.mem.segment);
    if (info.address_width == 32 && base > 0xffffffff) return false;
    uint64_t target = inputs_.OneIn(3) ? Target(8, true) : kData + 0x400 + inputs_.Below(0x1800);
    if (info.address_width == 32 && target - base > 0xffffffff) return false;
    SetGpr(draft, operand.mem.base, target - base);
  }
  // Overlapping copies.
  if (inputs_.OneIn(4)) {
    draft.gpr(x86::kRdi) = draft.gpr(x86::kRsi) + inputs_.Below(33) - 16;
  }
  SetGpr(draft, ZYDIS_REGISTER_RCX, inputs_.OneIn(8) ? 0 : inputs_.Below(40));
  if (inputs_.OneIn(2)) draft.gpr(x86::kRax) = 0;
  return true;
}

// A dividend whose quotient fits, often.
void Generator::ImplyQuotient(Draft& draft) {
  if (inputs_.OneIn(4)) return;
  uint64_t low = inputs_.Integer() >> inputs_.Below(48);
  bool negative = draft.info.mnemonic == ZYDIS_MNEMONIC_IDIV && inputs_.OneIn(2);
  draft.gpr(x86::kRax) = negative ? ~low : low;
  draft.gpr(x86::kRdx) = negative ? ~uint64_t{0} : 0;
}

uint64_t Generator::CodeTarget(uint64_t rip, unsigned length) {
  switch (inputs_.Below(32)) {
    case 0:
      return kCode + kCodeSize + inputs_.Below(0x1000);
    case 1:
      return kData + inputs_.Below(0x1000);
    default:
      break;
  }
  uint64_t slot = rip - kSlotStart;
  uint64_t at = inputs_.Below(kSlotSize - length);
  return slot + (at < kSlotStart ? at : at + length);
}

bool Generator::ImplyBranch(Draft& draft) {
  Instance& instance = *draft.instance;
  uint64_t next = instance.in.rip + instance.length;
  uint64_t target = CodeTarget(instance.in.rip, instance.length);
  const ZydisDecodedOperand& operand = draft.operands[0];
  if (draft.info.operand_count_visible == 0) return true;
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && operand.imm.is_relative) {
    auto relative = static_cast<int64_t>(target - next);
    unsigned size = draft.info.raw.imm[0].size;
    if (size == 8 && relative != static_cast<int8_t>(relative)) return false;
    // 16 bits cut the target to what is not mapped.
    std::memcpy(&instance.code[draft.info.raw.imm[0].offset], &relative, size / 8);
  } else if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    auto number = static_cast<unsigned>(ZydisRegisterGetId(operand.reg.value));
    if (number == x86::kRsp) return false;
    draft.gpr(number) = target;
  }
  return true;
}

bool Generator::ImplySelector(Draft& draft) {
  for (unsigned i = 0; i < 2 && i < draft.info.operand_count_visible; ++i) {
    const ZydisDecodedOperand& operand = draft.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER ||
        ZydisRegisterGetClass(operand.reg.value) != ZYDIS_REGCLASS_SEGMENT || i != 0) {
      continue;
    }
    const ZydisDecodedOperand& source = draft.operands[1];
    if (source.type != ZYDIS_OPERAND_TYPE_REGISTER) return true;
    auto number = static_cast<unsigned>(ZydisRegisterGetId(source.reg.value));
    if (number == x86::kRsp && mode_ == Mode::kCompat) return false;
    bool stack = operand.reg.value == ZYDIS_REGISTER_SS;
    uint16_t selector = stack ? kStackSelectors[inputs_.Below(std::size(kStackSelectors))]
                              : kDataSelectors[inputs_.Below(std::size(kDataSelectors))];
    draft.gpr(number) = (draft.gpr(number) & ~uint64_t{0xffff}) | selector;
    return true;
  }
  switch (draft.info.mnemonic) {
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW: {
      const ZydisDecodedOperand& source = draft.operands[draft.info.operand_count_visible - 1];
      if (source.type != ZYDIS_OPERAND_TYPE_REGISTER) return true;
      auto number = static_cast<unsigned>(ZydisRegisterGetId(source.reg.value));
      draft.gpr(number) = (draft.gpr(number) & ~uint64_t{0xffff}) |
                          kSelectors[inputs_.Below(std::size(kSelectors))];
      return true;
    }
    default:
      return true;
  }
}

// With the accumulator as the destination is, half of the time.
void Generator::ImplyEqual(Draft& draft) {
  Instance& instance = *draft.instance;
  const ZydisDecodedOperand& destination = draft.operands[0];
  if (inputs_.OneIn(2)) return;
  if (destination.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    auto number = static_cast<unsigned>(ZydisRegisterGetId(destination.reg.value));
    if (number != x86::kRsp && destination.size >= 16) draft.gpr(number) = draft.gpr(x86::kRax);
    return;
  }
  bool pair = draft.info.mnemonic != ZYDIS_MNEMONIC_CMPXCHG;
  size_t half = pair ? destination.size / 16 : destination.size / 8;
  draft.patches = 0;
  draft.patched = 0;
  std::span<std::byte> bytes = AddPatch(draft, instance.target, pair ? half * 2 : half);
  if (bytes.empty()) return;
  std::memcpy(bytes.data(), &draft.gpr(x86::kRax), half);
  if (pair) std::memcpy(&bytes[half], &draft.gpr(x86::kRdx), half);
}

bool Generator::ImplyMemory(Draft& draft) {
  namespace f = x86::rflags;
  Instance& instance = *draft.instance;
  const ZydisDecodedInstruction& info = draft.info;
  uint64_t top = draft.gpr(x86::kRsp);
  size_t word = mode_ == Mode::k64 ? 8 : 4;
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_RET:
      Put(AddPatch(draft, top, 8), 0, CodeTarget(instance.in.rip, instance.length));
      return true;
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_CALL:
      if (draft.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY) {
        draft.patches = 0;
        Put(AddPatch(draft, instance.target, word), 0,
            static_cast<uint32_t>(CodeTarget(instance.in.rip, instance.length)));
      }
      return true;
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ: {
      // TF would trap, AC would make our own misaligned operands fault.
      auto bytes = AddPatch(draft, top, 8);
      Put(bytes, 0, inputs_.Random() & ~(f::kTf | f::kAc));
      return !bytes.empty();
    }
    case ZYDIS_MNEMONIC_CMPXCHG:
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
      ImplyEqual(draft);
      return true;
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
      return true;
    case ZYDIS_MNEMONIC_POP:
      // Into a segment register.
      if (draft.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
          ZydisRegisterGetClass(draft.operands[0].reg.value) == ZYDIS_REGCLASS_SEGMENT) {
        Put(AddPatch(draft, top, 2), 0, kStackSelectors[inputs_.Below(std::size(kStackSelectors))]);
      }
      return true;
    case ZYDIS_MNEMONIC_MOV:
      if (draft.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
          ZydisRegisterGetClass(draft.operands[0].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
          instance.target_size != 0) {
        draft.patches = 0;
        Put(AddPatch(draft, instance.target, 2), 0,
            kStackSelectors[inputs_.Below(std::size(kStackSelectors))]);
      }
      return true;
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LSS:
      draft.patches = 0;
      Put(AddPatch(draft, instance.target + instance.target_size - 2, 2), 0,
          kStackSelectors[inputs_.Below(std::size(kStackSelectors))]);
      return true;
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
      if (instance.target_size != 0) {
        draft.patches = 0;
        Put(AddPatch(draft, instance.target, 2), 0,
            kSelectors[inputs_.Below(std::size(kSelectors))]);
      }
      return true;
    default:
      ImplyFloatState(draft);
      return true;
  }
}

void Generator::ImplyFloatState(Draft& draft) {
  Instance& instance = *draft.instance;
  uint64_t at = instance.target;
  size_t size = instance.target_size;
  auto fresh = [&] {
    draft.patches = 0;
    draft.patched = 0;
    return AddPatch(draft, at, size);
  };
  switch (draft.info.mnemonic) {
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64: {
      std::span<std::byte> bytes = fresh();
      if (bytes.size() < 512) return;
      inputs_.Fxsave(bytes.first<kFxsaveSize>());
      if (inputs_.OneIn(8)) Put(bytes, 0, static_cast<uint16_t>(inputs_.Random()));
      if (inputs_.OneIn(8)) Put(bytes, 2, static_cast<uint16_t>(inputs_.Random()));
      if (inputs_.OneIn(16)) Put(bytes, 26, static_cast<uint16_t>(1 << inputs_.Below(16) & ~2));
      return;
    }
    case ZYDIS_MNEMONIC_LDMXCSR:
      Put(fresh(), 0,
          inputs_.Mxcsr() |
              (inputs_.OneIn(8) ? (uint32_t{1} << (16 + inputs_.Below(16)) & ~0x20000u) : 0));
      return;
    case ZYDIS_MNEMONIC_FLDCW:
      Put(fresh(), 0,
          inputs_.OneIn(4) ? static_cast<uint16_t>(inputs_.Random()) : inputs_.ControlWord());
      return;
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FRSTOR: {
      std::span<std::byte> bytes = fresh();
      for (size_t i = 0; i + 2 <= bytes.size(); i += 2) {
        Put(bytes, i, static_cast<uint16_t>(inputs_.Random()));
      }
      size_t step = size == 14 || size == 94 ? 2 : 4;
      Put(bytes, 0, inputs_.ControlWord());
      if (inputs_.OneIn(2)) Put(bytes, step, uint16_t{0x3800});
      if (inputs_.OneIn(2)) Put(bytes, step * 2, uint16_t{0});
      for (size_t st = step * 7; st + 10 <= bytes.size(); st += 10) {
        Inputs::Extended value = inputs_.Extended80();
        Put(bytes, st, value.mantissa);
        Put(bytes, st + 8, value.sign_exponent);
      }
      return;
    }
    default:
      return;
  }
}

}  // namespace trapline::differential

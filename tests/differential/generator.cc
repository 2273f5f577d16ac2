// SPDX-License-Identifier: Apache-2.0
// Encoding, and aiming the memory operand. What instructions use without naming it: implied.cc.
#include "tests/differential/generator.h"

#include <algorithm>
#include <cstring>

namespace trapline::differential {
namespace {

constexpr unsigned kAttempts = 24;

bool IsStackPointer(ZydisRegister reg) {
  return reg == ZYDIS_REGISTER_RSP || reg == ZYDIS_REGISTER_ESP || reg == ZYDIS_REGISTER_SP;
}
bool IsInstructionPointer(ZydisRegister reg) {
  return reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP;
}

// A SIB byte with base 5 and mod 0 has no base register, whatever Zydis 4.0 says about one with an
// address size of 32 bits.
ZydisRegister BaseOf(const ZydisDecodedInstruction& info, const ZydisDecodedOperand& operand) {
  bool none = info.raw.modrm.mod == 0 && info.raw.modrm.rm == 4 && info.raw.sib.base == 5 &&
              (info.attributes & ZYDIS_ATTRIB_HAS_SIB);
  return none ? ZYDIS_REGISTER_NONE : operand.mem.base;
}

}  // namespace

bool Generator::Make(const Shape& shape, size_t slot, bool across, Instance* instance) {
  for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
    *instance = Instance{};
    Draft draft{};
    draft.instance = instance;
    instance->compat = mode_ == Mode::kCompat;
    if (!Encode(shape, draft)) continue;
    instance->in.rip = kCode + slot * kSlotSize + kSlotStart;
    if (across && instance->length > 1) {
      instance->in.rip = kCode + kCodeSize - 1 - inputs_.Below(instance->length - 1u);
    }
    if (Place(draft)) return true;
  }
  return false;
}

bool Generator::Encode(const Shape& shape, Draft& draft) {
  uint8_t bytes[32];
  size_t n = 0;
  // Order does not matter among the legacy prefixes, so any will do.
  uint8_t prefixes[5];
  size_t count = 0;
  if (shape.operand_size) prefixes[count++] = 0x66;
  if (shape.repeat) prefixes[count++] = shape.repeat;
  if (inputs_.OneIn(shape.memory ? 10 : 40)) prefixes[count++] = 0x67;
  if (inputs_.OneIn(shape.memory ? 8 : 40)) {
    constexpr uint8_t kSegments[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x65, 0x65};
    prefixes[count++] = kSegments[inputs_.Below(8)];
  }
  if (inputs_.OneIn(shape.memory ? 10 : 100)) prefixes[count++] = 0xf0;
  for (size_t i = count; i > 1; --i) std::swap(prefixes[i - 1], prefixes[inputs_.Below(i)]);
  for (size_t i = 0; i < count; ++i) bytes[n++] = prefixes[i];
  if (mode_ == Mode::k64 && (shape.wide || inputs_.OneIn(2))) {
    bytes[n++] = static_cast<uint8_t>(0x40 | (shape.wide ? 8 : 0) | inputs_.Below(8));
  }
  if (shape.map >= 1) bytes[n++] = 0x0f;
  if (shape.map == 2) bytes[n++] = 0x38;
  bytes[n++] = shape.opcode;
  if (shape.modrm) {
    uint64_t mod = shape.memory ? inputs_.Below(3) : 3;
    uint64_t reg = shape.reg >= 0 ? static_cast<uint64_t>(shape.reg) : inputs_.Below(8);
    uint64_t rm = shape.rm >= 0 ? static_cast<uint64_t>(shape.rm) : inputs_.Below(8);
    bytes[n++] = static_cast<uint8_t>(mod << 6 | reg << 3 | rm);
  }
  // SIB, displacement and immediate, whichever there are.
  uint64_t tail = inputs_.OneIn(2) ? inputs_.Integer() : inputs_.Random();
  for (int i = 0; i < 2; ++i, n += 8, tail = inputs_.Random()) std::memcpy(&bytes[n], &tail, 8);

  if (!DecodeTested(mode_, bytes, 15, &draft.info, draft.operands)) return false;
  if (draft.info.mnemonic != shape.mnemonic) return false;
  draft.instance->length = draft.info.length;
  std::copy(bytes, bytes + draft.info.length, draft.instance->code.begin());
  return true;
}

bool Generator::Place(Draft& draft) {
  State& in = draft.instance->in;
  for (uint64_t& value : in.gpr) value = inputs_.Integer();
  in.rflags = inputs_.Flags();
  in.gs_base = kGsBase;
  in.cs = mode_ == Mode::k64 ? kUserCode64 : kUserCode32;
  in.ss = in.ds = in.es = kUserData;
  inputs_.Fxsave(in.fxsave);
  uint64_t stack = kStack + 0x800 + inputs_.Below(64) * 8;
  switch (inputs_.Below(64)) {
    case 0:
      stack = kStack + inputs_.Below(16);
      break;
    case 1:
      stack = kHole - inputs_.Below(16);
      break;
    case 2:
    case 3:
    case 4:
      stack += inputs_.Below(8);
      break;
    default:
      break;
  }
  in.gpr[x86::kRsp] = stack;

  if (!ImplyRegisters(draft)) return false;
  for (unsigned i = 0; i < draft.info.operand_count; ++i) {
    const ZydisDecodedOperand& operand = draft.operands[i];
    bool named = operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
                 (operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
                  operand.encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64);
    if (!named || operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN) continue;
    if (!AimOperand(draft, operand)) return false;
  }
  if (mode_ == Mode::kCompat) {
    for (uint64_t& value : in.gpr) value = static_cast<uint32_t>(value);
  }
  return ImplyMemory(draft);
}

uint64_t Generator::SegmentBase(ZydisRegister segment) const {
  if (mode_ == Mode::kCompat) return 0;  // null selectors there, which fault
  return segment == ZYDIS_REGISTER_FS ? fs_base_ : segment == ZYDIS_REGISTER_GS ? kGsBase : 0;
}

void Generator::SetGpr(Draft& draft, ZydisRegister reg, uint64_t value) {
  auto number = static_cast<unsigned>(ZydisRegisterGetId(reg));
  // With a narrow address size the upper half must not matter.
  bool narrow = mode_ == Mode::k64 && draft.info.address_width == 32 && inputs_.OneIn(2);
  draft.gpr(number) = narrow ? static_cast<uint32_t>(value) | inputs_.Random() << 32 : value;
}

bool Generator::AimOperand(Draft& draft, const ZydisDecodedOperand& operand) {
  unsigned size = std::max<unsigned>(operand.size / 8, 1);
  bool writes = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  uint64_t target = Target(size, writes);
  if (draft.info.meta.category == ZYDIS_CATEGORY_BITBYTE) target = BitTarget(draft, operand);
  if (target == 0) return false;
  if (!AimAt(draft, operand, target)) return false;
  Instance& instance = *draft.instance;
  if (instance.target_size == 0) instance.target = target;
  instance.target_size = static_cast<uint16_t>(size);
  FillOperand(draft, operand, instance.target);
  return true;
}

uint64_t Generator::Target(unsigned size, bool writes) {
  uint64_t alignment = size >= 512 ? 16 : 1;
  while (alignment < size && alignment < 16) alignment *= 2;
  constexpr uint64_t kMiddle = kData + 0x1000;
  switch (inputs_.Below(32)) {
    case 0:
    case 1:
    case 2:
      return kData + 0x200 + inputs_.Below(0xa00);
    case 3:
    case 4:
      return kMiddle - 1 - inputs_.Below(size);
    case 5:
      return kReadOnly - 1 - inputs_.Below(size);
    case 6:
      return kReadOnly + inputs_.Below(0x1000 - size);
    case 7:
      return writes ? kUnmapped - size : kUnmapped - 1 - inputs_.Below(size);
    case 8:
      return kUnmapped + inputs_.Below(0x800);
    case 9:
      return mode_ == Mode::k64 ? uint64_t{1} << (47 + inputs_.Below(15)) | inputs_.Below(4096)
                                : kHole + inputs_.Below(0x800);
    default:
      return kData + inputs_.Below((kDataSize - size) / alignment) * alignment;
  }
}

// BT and its like with a bit offset in a register reach far from their operand.
uint64_t Generator::BitTarget(Draft& draft, const ZydisDecodedOperand& operand) {
  const ZydisDecodedOperand& offset = draft.operands[1];
  if (offset.type != ZYDIS_OPERAND_TYPE_REGISTER) return Target(operand.size / 8, true);
  ZydisRegister reg = offset.reg.value;
  auto number = static_cast<unsigned>(ZydisRegisterGetId(reg));
  auto uses = [&](ZydisRegister other) {
    return other != ZYDIS_REGISTER_NONE &&
           static_cast<unsigned>(ZydisRegisterGetId(other)) == number;
  };
  if (uses(BaseOf(draft.info, operand)) || uses(operand.mem.index)) return 0;
  if (number == x86::kRsp) return 0;
  draft.gpr(number) = inputs_.Below(8192) - 4096;
  return kData + 0x800 + inputs_.Below(0x800);
}

bool Generator::SetDisplacement(Draft& draft, int64_t value) {
  const auto& disp = draft.info.raw.disp;
  if (disp.size != 32 || value != static_cast<int32_t>(value)) return false;
  auto narrow = static_cast<int32_t>(value);
  std::memcpy(&draft.instance->code[disp.offset], &narrow, sizeof narrow);
  return true;
}

bool Generator::AimAt(Draft& draft, const ZydisDecodedOperand& operand, uint64_t target) {
  const auto& memory = operand.mem;
  ZydisRegister base = BaseOf(draft.info, operand);
  uint64_t wanted = target - SegmentBase(memory.segment);
  if (draft.info.address_width == 16) return AimNarrow(draft, operand);
  bool narrow = draft.info.address_width == 32;
  if (narrow && wanted > 0xffffffff) return false;
  if (operand.encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64) {
    std::memcpy(&draft.instance->code[draft.info.raw.disp.offset], &wanted,
                draft.info.raw.disp.size / 8);
    return true;
  }
  auto fit = [narrow](uint64_t value) {
    return narrow ? static_cast<int64_t>(static_cast<int32_t>(value)) : static_cast<int64_t>(value);
  };
  uint64_t indexed = 0;
  if (memory.index != ZYDIS_REGISTER_NONE) {
    uint64_t index = inputs_.OneIn(4) ? inputs_.Integer() : inputs_.Below(16);
    if (base == ZYDIS_REGISTER_NONE || base == memory.index || IsStackPointer(base)) {
      index = inputs_.Below(64);
    }
    SetGpr(draft, memory.index, index);
    indexed = index * memory.scale;
    if (base == memory.index) return SetDisplacement(draft, fit(wanted - indexed - index));
  }
  if (base == ZYDIS_REGISTER_NONE) return SetDisplacement(draft, fit(wanted - indexed));
  if (IsInstructionPointer(base)) {
    return SetDisplacement(draft, fit(wanted - draft.instance->in.rip - draft.info.length));
  }
  if (IsStackPointer(base)) {
    uint64_t rsp = draft.gpr(x86::kRsp);
    if (draft.info.raw.disp.size == 32) return SetDisplacement(draft, fit(wanted - rsp - indexed));
    // The operand lies wherever that leads, near the top of the stack.
    draft.instance->target = rsp + indexed + static_cast<uint64_t>(memory.disp.value);
    draft.instance->target_size = 1;
    return SegmentBase(memory.segment) == 0;
  }
  SetGpr(draft, base, wanted - indexed - static_cast<uint64_t>(memory.disp.value));
  return true;
}

// 16-bit addresses reach only what is never mapped; the page fault tells the address.
bool Generator::AimNarrow(Draft& draft, const ZydisDecodedOperand&) {
  return inputs_.OneIn(4) && draft.info.meta.category != ZYDIS_CATEGORY_BITBYTE;
}

std::span<std::byte> Generator::AddPatch(Draft& draft, uint64_t address, size_t size) {
  Instance& instance = *draft.instance;
  bool room = draft.patches < instance.patches.size() &&
              draft.patched + size <= instance.patch_bytes.size();
  bool inside = address >= kMemory && address + size <= kMemory + kMemorySize;
  if (!room || !inside) return {};
  instance.patches[draft.patches++] = {address, static_cast<uint16_t>(size), draft.patched};
  auto bytes = std::span(instance.patch_bytes).subspan(draft.patched, size);
  draft.patched = static_cast<uint16_t>(draft.patched + size);
  return bytes;
}

// What an operand's elements may be.
void Generator::FillOperand(Draft& draft, const ZydisDecodedOperand& operand, uint64_t target) {
  size_t size = operand.size / 8;
  if (!(operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) || size == 0 || size > 64) return;
  std::span<std::byte> bytes = AddPatch(draft, target, size);
  if (bytes.empty()) return;
  size_t element = std::max<size_t>(operand.element_size / 8, 1);
  for (size_t at = 0; at + element <= size; at += element) {
    uint64_t value = inputs_.Integer();
    switch (operand.element_type) {
      case ZYDIS_ELEMENT_TYPE_FLOAT32:
        value = inputs_.Single();
        break;
      case ZYDIS_ELEMENT_TYPE_FLOAT64:
        value = inputs_.Double();
        break;
      case ZYDIS_ELEMENT_TYPE_FLOAT80: {
        Inputs::Extended extended = inputs_.Extended80();
        std::memcpy(&bytes[at], &extended.mantissa, 8);
        std::memcpy(&bytes[at + 8], &extended.sign_exponent, 2);
        continue;
      }
      case ZYDIS_ELEMENT_TYPE_LONGBCD:
        inputs_.Decimal(bytes.first<10>());
        continue;
      default:
        break;
    }
    std::memcpy(&bytes[at], &value, std::min<size_t>(element, 8));
  }
}

}  // namespace trapline::differential

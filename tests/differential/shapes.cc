// SPDX-License-Identifier: Apache-2.0
// Walks the opcode maps. What is advertised (core/engine/soft/cpuid.cc) is named here by Zydis'
// instruction sets.
#include "tests/differential/shapes.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

namespace trapline::differential {
namespace {

const ZydisDecoder& DecoderFor(Mode mode) {
  auto make = [](ZydisMachineMode machine, ZydisStackWidth stack) {
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, machine, stack);
    // NOPs on a CPU without them; so they are on the host, which is in no such mode.
    for (ZydisDecoderMode feature :
         {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_CLDEMOTE}) {
      ZydisDecoderEnableMode(&decoder, feature, ZYAN_FALSE);
    }
    return decoder;
  };
  static const ZydisDecoder k64 = make(ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  static const ZydisDecoder k32 = make(ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
  return mode == Mode::k64 ? k64 : k32;
}

bool Advertised(ZydisISASet set) {
  switch (set) {
    case ZYDIS_ISA_SET_I86:
    case ZYDIS_ISA_SET_I186:
    case ZYDIS_ISA_SET_I286REAL:
    case ZYDIS_ISA_SET_I286PROTECTED:
    case ZYDIS_ISA_SET_I386:
    case ZYDIS_ISA_SET_I486:
    case ZYDIS_ISA_SET_I486REAL:
    case ZYDIS_ISA_SET_PENTIUMREAL:
    case ZYDIS_ISA_SET_PPRO:
    case ZYDIS_ISA_SET_CMOV:
    case ZYDIS_ISA_SET_FAT_NOP:
    case ZYDIS_ISA_SET_PREFETCH_NOP:
    case ZYDIS_ISA_SET_PAUSE:
    case ZYDIS_ISA_SET_LONGMODE:
    case ZYDIS_ISA_SET_LAHF:
    case ZYDIS_ISA_SET_CMPXCHG16B:
    case ZYDIS_ISA_SET_MOVBE:
    case ZYDIS_ISA_SET_POPCNT:
    case ZYDIS_ISA_SET_RDWRFSGS:
    case ZYDIS_ISA_SET_CLFSH:
    case ZYDIS_ISA_SET_CLFLUSHOPT:
    case ZYDIS_ISA_SET_CLWB:
    case ZYDIS_ISA_SET_X87:
    case ZYDIS_ISA_SET_FCMOV:
    case ZYDIS_ISA_SET_PENTIUMMMX:
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_FXSAVE64:
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
    case ZYDIS_ISA_SET_SSEMXCSR:
    case ZYDIS_ISA_SET_SSE_PREFETCH:
      return true;
    default:
      return false;
  }
}

bool Excluded(ZydisMnemonic mnemonic) {
  static const auto table = [] {
    std::array<bool, ZYDIS_MNEMONIC_MAX_VALUE + 1> excluded{};
    for (const Exclusion& entry : Exclusions()) excluded[entry.mnemonic] = true;
    return excluded;
  }();
  return table[mnemonic];
}

bool LoadsFsOrGs(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
         (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0 &&
         (operand.reg.value == ZYDIS_REGISTER_FS || operand.reg.value == ZYDIS_REGISTER_GS);
}

// The bytes of a shape with simple operands, enough behind them for any immediate.
std::array<uint8_t, 24> Sample(const Shape& shape, unsigned reg, unsigned rm) {
  std::array<uint8_t, 24> bytes{};
  size_t n = 0;
  if (shape.operand_size) bytes[n++] = 0x66;
  if (shape.repeat) bytes[n++] = shape.repeat;
  if (shape.wide) bytes[n++] = 0x48;
  if (shape.map >= 1) bytes[n++] = 0x0f;
  if (shape.map == 2) bytes[n++] = 0x38;
  bytes[n++] = shape.opcode;
  bytes[n++] = static_cast<uint8_t>((shape.memory ? 0 : 0xc0) | reg << 3 | rm);
  return bytes;
}

ZydisOpcodeMap MapOf(const Shape& shape) {
  return shape.map == 0   ? ZYDIS_OPCODE_MAP_DEFAULT
         : shape.map == 1 ? ZYDIS_OPCODE_MAP_0F
                          : ZYDIS_OPCODE_MAP_0F38;
}

// Opcodes that register forms tell apart by ModRM.rm too.
bool RmMatters(const Shape& shape) {
  if (shape.memory) return false;
  if (shape.map == 0) return shape.opcode >= 0xd8 && shape.opcode <= 0xdf;
  return shape.map == 1 && (shape.opcode == 0x01 || shape.opcode == 0xae);
}

class Collector {
 public:
  explicit Collector(Mode mode) : mode_(mode) {}

  // All shapes of an opcode in one form with one choice of prefixes.
  void Add(Shape shape) {
    std::vector<Shape> found;
    bool same = true;
    for (unsigned reg = 0; reg < 8; ++reg) {
      for (unsigned rm = RmMatters(shape) ? 0 : 1; rm < (RmMatters(shape) ? 8u : 2u); ++rm) {
        auto bytes = Sample(shape, reg, rm);
        ZydisDecodedInstruction info;
        ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
        if (!DecodeTested(mode_, bytes.data(), 15, &info, operands)) continue;
        // The byte may be a prefix in this mode.
        if (info.opcode != shape.opcode || info.opcode_map != MapOf(shape)) continue;
        shape.modrm = (info.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
        if (!shape.modrm && (shape.memory || reg > 0)) return;
        shape.mnemonic = info.mnemonic;
        shape.reg = static_cast<int8_t>(reg);
        shape.rm = RmMatters(shape) ? static_cast<int8_t>(rm) : int8_t{-1};
        shape.decorated = Decorated(shape, reg, rm, info);
        found.push_back(shape);
        if (!shape.modrm) break;
      }
      if (!found.empty() && !shape.modrm) break;
    }
    for (const Shape& each : found) same = same && each.mnemonic == found[0].mnemonic;
    if (found.size() == 8 && same && !RmMatters(shape)) {
      found.resize(1);
      found[0].reg = -1;
    }
    shapes_.insert(shapes_.end(), found.begin(), found.end());
  }
  std::vector<Shape> Take() { return std::move(shapes_); }

 private:
  // Whether the same bytes without one of the prefixes are the same instruction.
  bool Decorated(const Shape& shape, unsigned reg, unsigned rm,
                 const ZydisDecodedInstruction& info) const {
    auto same_without = [&](Shape less) {
      auto bytes = Sample(less, reg, rm);
      ZydisDecodedInstruction other;
      ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
      if (!DecodeTested(mode_, bytes.data(), 15, &other, operands)) return false;
      return other.mnemonic == info.mnemonic && other.operand_width == info.operand_width &&
             !(info.attributes &
               (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE));
    };
    Shape less = shape;
    less.repeat = 0;
    if (shape.repeat && same_without(less)) return true;
    less = shape;
    less.operand_size = false;
    if (shape.operand_size && same_without(less)) return true;
    less = shape;
    less.wide = false;
    return shape.wide && same_without(less);
  }

  Mode mode_;
  std::vector<Shape> shapes_;
};

}  // namespace

const std::vector<Exclusion>& Exclusions() {
  static const std::vector<Exclusion> list = {
      {ZYDIS_MNEMONIC_CPUID, "answers what each CPU is"},
      {ZYDIS_MNEMONIC_RDTSC, "never twice the same"},
      {ZYDIS_MNEMONIC_RDTSCP, "never twice the same"},
      {ZYDIS_MNEMONIC_INT1, "a hypervisor below may report it with RIP at it instead of behind"},
      {ZYDIS_MNEMONIC_SYSCALL, "enters the host's kernel"},
      {ZYDIS_MNEMONIC_SYSENTER, "enters the host's kernel, where the vendor has it in long mode"},
      {ZYDIS_MNEMONIC_SYSRET, "in legacy modes only some vendors have it"},
      {ZYDIS_MNEMONIC_SYSEXIT, "in long mode only some vendors have it"},
      {ZYDIS_MNEMONIC_SGDT, "the host's kernel may emulate it (UMIP)"},
      {ZYDIS_MNEMONIC_SIDT, "the host's kernel may emulate it (UMIP)"},
      {ZYDIS_MNEMONIC_SLDT, "the host's kernel may emulate it (UMIP)"},
      {ZYDIS_MNEMONIC_STR, "the host's kernel may emulate it (UMIP)"},
      {ZYDIS_MNEMONIC_SMSW, "the host's kernel may emulate it (UMIP)"},
      {ZYDIS_MNEMONIC_WRFSBASE, "would take the child's thread-local storage away"},
      {ZYDIS_MNEMONIC_LFS, "would take the child's thread-local storage away"},
      {ZYDIS_MNEMONIC_LGS, "whether a null selector clears the base depends on the vendor"},
      {ZYDIS_MNEMONIC_UD0, "whether it has a ModRM byte depends on the vendor"},
      {ZYDIS_MNEMONIC_RSM, "system management mode"},
  };
  return list;
}

bool DecodeTested(Mode mode, const uint8_t* bytes, size_t size,
                  ZydisDecodedInstruction* instruction, ZydisDecodedOperand* operands) {
  if (!ZYAN_SUCCESS(
          ZydisDecoderDecodeFull(&DecoderFor(mode), bytes, size, instruction, operands))) {
    return false;
  }
  const ZydisDecodedInstruction& info = *instruction;
  if (info.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return false;
  if (!Advertised(info.meta.isa_set) || Excluded(info.mnemonic)) return false;
  for (unsigned i = 0; i < info.operand_count; ++i) {
    if (LoadsFsOrGs(operands[i])) return false;
  }
  // Far branches leave for descriptors that the host chooses. (LES and LDS load from memory that we
  // choose.)
  if (info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return false;
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
      return false;
    case ZYDIS_MNEMONIC_INT:
      // The host's system calls; and the hypercall vector, which is not an interrupt here.
      return operands[0].imm.value.u != 0x80 && operands[0].imm.value.u != 0x1f;
    default:
      break;
  }
  // 66 on a near branch in 64-bit code: ignored by one vendor, obeyed by another.
  bool narrow = info.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE;
  for (unsigned i = 0; i < info.raw.prefix_count; ++i) {
    narrow = narrow || info.raw.prefixes[i].value == 0x66;
  }
  bool near =
      info.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE || info.meta.category == ZYDIS_CATEGORY_RET;
  return !(mode == Mode::k64 && narrow && near);
}

std::vector<Shape> AllShapes(Mode mode) {
  Collector collector(mode);
  for (uint8_t map = 0; map < 3; ++map) {
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
      if (map == 0 && (opcode == 0x0f || opcode == 0x66 || opcode == 0xf2 || opcode == 0xf3))
        continue;
      for (bool memory : {false, true}) {
        for (bool operand_size : {false, true}) {
          for (uint8_t repeat : {0x00, 0xf2, 0xf3}) {
            for (bool wide : {false, true}) {
              if (wide && mode == Mode::kCompat) continue;
              collector.Add({.map = map,
                             .opcode = static_cast<uint8_t>(opcode),
                             .operand_size = operand_size,
                             .repeat = repeat,
                             .wide = wide,
                             .memory = memory});
            }
          }
        }
      }
    }
  }
  return collector.Take();
}

}  // namespace trapline::differential

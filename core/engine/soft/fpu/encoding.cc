// SPDX-License-Identifier: Apache-2.0
// Legacy-encoded instructions (SDM volume 2, chapter 2).
#include "core/engine/soft/fpu/encoding.h"

namespace trapline::engine::soft {

std::vector<uint8_t> Reencode(const ZydisDecodedInstruction& info, const Reencoding& operands) {
  constexpr uint8_t kRsi = 6;
  std::vector<uint8_t> code;
  // The last of F2 and F3 is the mandatory prefix; 66 may be one beside them or alone.
  bool operand_size = info.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE;
  uint8_t repeat = 0;
  for (unsigned i = 0; i < info.raw.prefix_count; ++i) {
    uint8_t value = info.raw.prefixes[i].value;
    if (value == 0x66) operand_size = true;
    if (value == 0xf2 || value == 0xf3) repeat = value;
  }
  bool x87 = info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
  if (operand_size) code.push_back(0x66);
  if (repeat && !x87) code.push_back(repeat);
  auto rex = static_cast<uint8_t>((info.raw.rex.W ? 8 : 0) | (operands.reg > 7 ? 4 : 0) |
                                  (!operands.memory && operands.rm > 7 ? 1 : 0));
  if (rex) code.push_back(0x40 | rex);
  if (!x87) code.push_back(0x0f);
  if (info.opcode_map == ZYDIS_OPCODE_MAP_0F38) code.push_back(0x38);
  if (info.opcode_map == ZYDIS_OPCODE_MAP_0F3A) code.push_back(0x3a);
  code.push_back(info.opcode);
  if (info.attributes & ZYDIS_ATTRIB_HAS_MODRM) {
    uint8_t mod = operands.memory ? 0 : 3;
    uint8_t rm = operands.memory ? kRsi : operands.rm & 7;
    code.push_back(static_cast<uint8_t>(mod << 6 | (operands.reg & 7) << 3 | rm));
  }
  if (info.raw.imm[0].size == 8) code.push_back(static_cast<uint8_t>(info.raw.imm[0].value.u));
  return code;
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Guest code as text, by Zydis.
#include "core/vm/disassembler.h"

#include <Zydis/Zydis.h>

#include <array>

#include "core/x86/flags.h"

namespace trapline::vm {
namespace {

ZydisDecoder MakeDecoder(unsigned code_bits) {
  ZydisDecoder decoder;
  switch (code_bits) {
    case 16:
      ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
      break;
    case 32:
      ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
      break;
    default:
      ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  }
  return decoder;
}

}  // namespace

unsigned CodeBits(const x86::Registers& registers) {
  uint16_t attributes = registers.segment[x86::kCs].attributes;
  bool is_64 = (registers.efer & x86::efer::kLma) && (attributes & x86::segment_attribute::kLong);
  return is_64 ? 64 : attributes & x86::segment_attribute::kDefault32 ? 32 : 16;
}

std::vector<Instruction> DisassembleBytes(std::span<const std::byte> bytes, uint64_t address,
                                          unsigned code_bits, uint32_t count) {
  ZydisDecoder decoder = MakeDecoder(code_bits);
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);

  std::vector<Instruction> result;
  size_t at = 0;
  while (at < bytes.size() && result.size() < count) {
    ZydisDecodedInstruction decoded;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    ZyanStatus status = ZydisDecoderDecodeFull(&decoder, bytes.data() + at, bytes.size() - at,
                                               &decoded, operands.data());
    if (status == ZYDIS_STATUS_NO_MORE_DATA) break;
    Instruction instruction{.address = address + at, .bytes = {}, .text = "(bad)", .symbol = {}};
    size_t length = 1;
    if (ZYAN_SUCCESS(status)) {
      std::array<char, 128> text;
      length = decoded.length;
      if (ZYAN_SUCCESS(ZydisFormatterFormatInstruction(
              &formatter, &decoded, operands.data(), decoded.operand_count_visible, text.data(),
              text.size(), instruction.address, nullptr))) {
        instruction.text = text.data();
      }
    }
    auto code = bytes.subspan(at, length);
    instruction.bytes.assign(code.begin(), code.end());
    result.push_back(std::move(instruction));
    at += length;
  }
  return result;
}

}  // namespace trapline::vm

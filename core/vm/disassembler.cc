// SPDX-License-Identifier: Apache-2.0
// Guest code as text, by Zydis.
#include "core/vm/disassembler.h"

#include <Zydis/Zydis.h>

#include <array>
#include <cstring>
#include <utility>

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

using Operands = std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT>;

// Intel syntax with names for absolute addresses that have one.
class NamingFormatter {
 public:
  explicit NamingFormatter(const Names& names) : names_(names) {
    ZydisFormatterInit(&formatter_, ZYDIS_FORMATTER_STYLE_INTEL);
    const void* hook = reinterpret_cast<const void*>(&PrintAddress);
    ZydisFormatterSetHook(&formatter_, ZYDIS_FORMATTER_FUNC_PRINT_ADDRESS_ABS, &hook);
    std::memcpy(&print_number_, &hook, sizeof hook);
  }

  std::string Format(const ZydisDecodedInstruction& instruction, const Operands& operands,
                     uint64_t address) {
    std::array<char, 2 * kLongestName> text;
    if (!ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter_, &instruction, operands.data(),
                                                      instruction.operand_count_visible,
                                                      text.data(), text.size(), address, this)))
      return "(bad)";
    return text.data();
  }

 private:
  static constexpr size_t kLongestName = 256;

  static ZyanStatus PrintAddress(const ZydisFormatter* formatter, ZydisFormatterBuffer* buffer,
                                 ZydisFormatterContext* context) {
    auto* self = static_cast<NamingFormatter*>(context->user_data);
    ZyanU64 address;
    ZYAN_CHECK(ZydisCalcAbsoluteAddress(context->instruction, context->operand,
                                        context->runtime_address, &address));
    std::string name = self->names_(address);
    if (name.empty() || name.size() > kLongestName)
      return self->print_number_(formatter, buffer, context);
    ZYAN_CHECK(ZydisFormatterBufferAppend(buffer, ZYDIS_TOKEN_SYMBOL));
    ZyanString* text;
    ZyanStringView view;
    ZYAN_CHECK(ZydisFormatterBufferGetString(buffer, &text));
    ZYAN_CHECK(ZyanStringViewInsideBufferEx(&view, name.data(), name.size()));
    return ZyanStringAppend(text, &view);
  }

  const Names& names_;
  ZydisFormatter formatter_;
  ZydisFormatterFunc print_number_ = nullptr;
};

}  // namespace

unsigned CodeBits(const x86::Registers& registers) {
  uint16_t attributes = registers.segment[x86::kCs].attributes;
  bool is_64 = (registers.efer & x86::efer::kLma) && (attributes & x86::segment_attribute::kLong);
  return is_64 ? 64 : attributes & x86::segment_attribute::kDefault32 ? 32 : 16;
}

std::vector<Instruction> DisassembleBytes(std::span<const std::byte> bytes, uint64_t address,
                                          unsigned code_bits, uint32_t count, const Names& names) {
  ZydisDecoder decoder = MakeDecoder(code_bits);
  NamingFormatter formatter(names);
  std::vector<Instruction> result;
  size_t at = 0;
  while (at < bytes.size() && result.size() < count) {
    ZydisDecodedInstruction decoded;
    Operands operands;
    ZyanStatus status = ZydisDecoderDecodeFull(&decoder, bytes.data() + at, bytes.size() - at,
                                               &decoded, operands.data());
    if (status == ZYDIS_STATUS_NO_MORE_DATA) break;
    Instruction instruction{
        .address = address + at, .bytes = {}, .text = "(bad)", .symbol = names(address + at)};
    size_t length = 1;
    if (ZYAN_SUCCESS(status)) {
      length = decoded.length;
      instruction.text = formatter.Format(decoded, operands, instruction.address);
    }
    auto code = bytes.subspan(at, length);
    instruction.bytes.assign(code.begin(), code.end());
    result.push_back(std::move(instruction));
    at += length;
  }
  return result;
}

std::vector<uint8_t> InstructionLengths(std::span<const std::byte> bytes, unsigned code_bits) {
  ZydisDecoder decoder = MakeDecoder(code_bits);
  ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE);
  std::vector<uint8_t> lengths(bytes.size());
  for (size_t at = 0; at < bytes.size(); ++at) {
    ZydisDecodedInstruction decoded;
    if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, bytes.data() + at,
                                                   bytes.size() - at, &decoded)))
      lengths[at] = decoded.length;
  }
  return lengths;
}

}  // namespace trapline::vm

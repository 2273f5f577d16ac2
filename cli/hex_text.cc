// SPDX-License-Identifier: Apache-2.0
// Guest memory, registers and instructions as text.
#include "cli/hex_text.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/table.h"
#include "google/protobuf/descriptor.h"

namespace trapline::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kBytesPerLine = 16;
constexpr size_t kRegistersPerLine = 4;

std::string Scalar(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrFormat("%016x", reflection.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return absl::StrFormat("%x", reflection.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, &field) ? "1" : "0";
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.GetEnum(message, &field)->name();
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string value = reflection.GetString(message, &field);
      return field.type() == FieldDescriptor::TYPE_BYTES ? SpacedHex(value) : value;
    }
    default:
      return "";
  }
}

std::string OneLine(const Message& message) {
  std::string line;
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.is_repeated()) continue;
    absl::StrAppend(&line, line.empty() ? "" : " ", field.name(), "=", Scalar(message, field));
  }
  return line;
}

}  // namespace

std::string HexDump(uint64_t address, absl::string_view bytes) {
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += kBytesPerLine) {
    const absl::string_view line = bytes.substr(at, kBytesPerLine);
    absl::StrAppendFormat(&out, "%016x  %-47s  |", address + at, SpacedHex(line));
    for (const char c : line) {
      out.push_back(absl::ascii_isprint(static_cast<unsigned char>(c)) ? c : '.');
    }
    out.append("|\n");
  }
  return out;
}

std::string SpacedHex(absl::string_view bytes) {
  std::string out;
  for (const char byte : bytes) {
    absl::StrAppendFormat(&out, "%s%02x", out.empty() ? "" : " ", static_cast<unsigned char>(byte));
  }
  return out;
}

std::string RegisterText(const Message& registers) {
  const google::protobuf::Descriptor& type = *registers.GetDescriptor();
  std::string numbers;
  std::string lines;
  size_t in_line = 0;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.is_repeated()) continue;
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      absl::StrAppendFormat(&lines, "%-8s %s\n", field.name(),
                            OneLine(registers.GetReflection()->GetMessage(registers, &field)));
      continue;
    }
    absl::StrAppendFormat(&numbers, "%-6s %-16s", field.name(), Scalar(registers, field));
    numbers.append(++in_line % kRegistersPerLine == 0 ? "\n" : "  ");
  }
  if (in_line % kRegistersPerLine != 0) numbers.append("\n");
  return absl::StrCat(numbers, lines);
}

std::string InstructionText(const v1::DisassembleResponse& response, bool colour) {
  std::string out;
  std::string function;
  for (const auto& instruction : response.instructions()) {
    // The symbol is said once, where it begins or changes.
    const std::string symbol = instruction.symbol().substr(0, instruction.symbol().find('+'));
    if (!symbol.empty() && symbol != function) {
      absl::StrAppend(
          &out, Paint(absl::StrCat(Printable(instruction.symbol()), ":"), Colour::kCyan, colour),
          "\n");
      function = symbol;
    }
    absl::StrAppendFormat(&out, "%016x  %-30s  %s\n", instruction.address(),
                          SpacedHex(instruction.bytes()), Printable(instruction.text()));
  }
  return out;
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// Guest memory, registers and instructions as text.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli {

// Sixteen bytes a line: address, bytes, and what is printable of them.
std::string HexDump(uint64_t address, absl::string_view bytes);

// "0f 01 c1".
std::string SpacedHex(absl::string_view bytes);

// Every field of a message of registers: numbers in hexadecimal, four to a line; messages in it
// (segments, tables) a line each.
std::string RegisterText(const google::protobuf::Message& registers);

// One instruction a line: address, bytes, text; symbols on lines of their own.
std::string InstructionText(const v1::DisassembleResponse& response, bool colour);

}  // namespace trapline::cli

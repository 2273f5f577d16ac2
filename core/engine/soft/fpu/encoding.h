// SPDX-License-Identifier: Apache-2.0
// Re-encodes a decoded guest instruction for the host: same operation, other operands.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <vector>

namespace trapline::engine::soft {

// The register fields and the memory operand that the copy shall have.
struct Reencoding {
  uint8_t reg = 0;      // ModRM.reg, 0 to 15
  uint8_t rm = 0;       // ModRM.rm of a register operand, 0 to 15
  bool memory = false;  // the rm operand is [rsi]
};

// Mandatory prefix, REX.W, opcode map, opcode and immediate are the original's.
std::vector<uint8_t> Reencode(const ZydisDecodedInstruction& info, const Reencoding& operands);

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// The encodings to test, found by asking Zydis about every opcode with every prefix that may change
// its meaning.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace trapline::differential {

enum class Mode { k64, kCompat };

// One encoding, but for registers, addressing and immediates.
struct Shape {
  uint8_t map = 0;  // 0: one-byte opcodes, 1: 0F, 2: 0F 38
  uint8_t opcode = 0;
  bool operand_size = false;  // 66
  uint8_t repeat = 0;         // F2, F3 or none
  bool wide = false;          // REX.W
  bool modrm = false;
  bool memory = false;
  int8_t reg = -1, rm = -1;  // ModRM fields that belong to the opcode, else -1
  ZydisMnemonic mnemonic = ZYDIS_MNEMONIC_INVALID;
  bool decorated = false;  // a prefix changes nothing about it
};

std::vector<Shape> AllShapes(Mode mode);

// An instruction that is left out although the software CPU has it, and why.
struct Exclusion {
  ZydisMnemonic mnemonic;
  std::string_view reason;
};
const std::vector<Exclusion>& Exclusions();

// As AllShapes uses it. Fills *instruction and *operands if the bytes are an instruction of an
// instruction set that the software CPU advertises and that is not excluded.
bool DecodeTested(Mode mode, const uint8_t* bytes, size_t size,
                  ZydisDecodedInstruction* instruction, ZydisDecodedOperand* operands);

}  // namespace trapline::differential

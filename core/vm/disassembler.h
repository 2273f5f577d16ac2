// SPDX-License-Identifier: Apache-2.0
// Guest code as text. All of it is thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/vm/vm.h"
#include "core/x86/registers.h"

namespace trapline::vm {

// The width of the code that a vCPU with these registers executes: 16, 32 or 64.
unsigned CodeBits(const x86::Registers& registers);

// "name+0x12" for an address, empty if unknown.
using Names = std::function<std::string(uint64_t address)>;

// Up to count instructions of the bytes that stand at address, in code of 16, 32 or 64 bits
// (code_bits), with names for them and for where they branch to. Bytes that are no instruction
// become "(bad)", one at a time; an instruction that is cut off by the end is left out.
std::vector<Instruction> DisassembleBytes(std::span<const std::byte> bytes, uint64_t address,
                                          unsigned code_bits, uint32_t count, const Names& names);

// The length of the instruction that begins at each of the bytes; 0: none does, or it is cut off.
std::vector<uint8_t> InstructionLengths(std::span<const std::byte> bytes, unsigned code_bits);

}  // namespace trapline::vm

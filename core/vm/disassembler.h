// SPDX-License-Identifier: Apache-2.0
// Guest code as text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/vm/vm.h"
#include "core/x86/registers.h"

namespace trapline::vm {

// The width of the code that a vCPU with these registers executes: 16, 32 or 64.
unsigned CodeBits(const x86::Registers& registers);

// Up to count instructions of the bytes that stand at address, in code of 16, 32 or 64 bits
// (code_bits). Bytes that are no instruction become "(bad)", one at a time; an instruction that is
// cut off by the end is left out. Thread-safe.
std::vector<Instruction> DisassembleBytes(std::span<const std::byte> bytes, uint64_t address,
                                          unsigned code_bits, uint32_t count);

}  // namespace trapline::vm

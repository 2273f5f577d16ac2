// SPDX-License-Identifier: Apache-2.0
// One instruction with everything it starts from, and what a CPU made of it. Plain data: it lies in
// memory that the child process shares.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/x86/exceptions.h"
#include "core/x86/registers.h"

namespace trapline::differential {

// Linear memory that the instruction sees, at the same addresses natively and in the guest.
// Whatever lies between the pieces is not mapped.
constexpr uint64_t kCode = 0x10000000;  // readable, executable
constexpr uint64_t kCodeSize = 0x10000;
constexpr uint64_t kMemory = kCode + 0x12000;  // the four pieces below
constexpr uint64_t kStack = kMemory;           // one page, writable
constexpr uint64_t kData = kMemory + 0x2000;   // two pages, writable
constexpr uint64_t kDataSize = 0x2000;
constexpr uint64_t kReadOnly = kData + kDataSize;  // one page
constexpr uint64_t kUnmapped = kReadOnly + 0x1000;
constexpr uint64_t kMemorySize = 0x5000;
constexpr uint64_t kHole = kStack + 0x1000;  // the page behind the stack
constexpr uint64_t kGsBase = kData + 0x400;

// Each instruction has a slot of code of its own, filled with HLT, which faults in ring 3: wherever
// the instruction goes on, that is where it ends, with #GP.
constexpr uint64_t kSlotSize = 64;
constexpr uint64_t kSlotStart = 24;  // of the instruction in its slot
constexpr size_t kBatchSize = kCodeSize / kSlotSize;
constexpr std::byte kFiller{0xf4};

// Selectors as Linux lays them out.
constexpr uint16_t kUserCode32 = 0x23, kUserData = 0x2b, kUserCode64 = 0x33;

constexpr size_t kFxsaveSize = 416;  // the part of the image that means something

struct State {
  std::array<uint64_t, x86::kGprCount> gpr;
  uint64_t rip, rflags, gs_base;
  uint16_t cs, ss, ds, es;
  alignas(16) std::array<std::byte, kFxsaveSize> fxsave;  // 64-bit layout
};

struct Patch {
  uint64_t address = 0;
  uint16_t size = 0;
  uint16_t from = 0;  // index into Instance::patch_bytes
};

struct Instance {
  State in;
  std::array<uint8_t, 16> code;
  uint8_t length;
  bool compat;           // 32-bit code
  uint64_t target;       // the explicit memory operand, if there is one
  uint16_t target_size;  // 0: none
  uint32_t number;       // since the run began
  // What memory holds beyond the batch's background.
  std::array<Patch, 3> patches;
  std::array<std::byte, 768> patch_bytes;
};

struct Outcome {
  State out;
  uint8_t vector;
  uint32_t error_code;
  uint64_t fault_address;  // page faults only
  std::array<std::byte, kMemorySize> memory;
};

using Background = std::array<std::byte, kMemorySize>;

// Memory as the instruction finds it.
inline void Prepare(const Instance& instance, const Background& background,
                    std::span<std::byte, kMemorySize> memory) {
  std::copy(background.begin(), background.end(), memory.begin());
  for (const Patch& patch : instance.patches) {
    auto bytes = std::span(instance.patch_bytes).subspan(patch.from, patch.size);
    std::copy(bytes.begin(), bytes.end(), memory.begin() + (patch.address - kMemory));
  }
}

}  // namespace trapline::differential

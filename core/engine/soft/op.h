// SPDX-License-Identifier: Apache-2.0
// A decoded instruction: what the decoder hands to the interpreter.
//
// A block is an array of Ops that ends with one whose handler returns null or the first Op of
// another block. Register operands are byte offsets into Cpu::r, so that AH..BH, the FS and GS
// bases and "no register" need no case of their own: an absent base or index names the register
// that is always zero.
#pragma once

#include <cstddef>
#include <cstdint>

namespace trapline::engine::soft {

class Cpu;
struct Op;

// Executes one instruction. Returns the Op to run next, or null to go back to the dispatcher with
// Cpu::rip set. A guest fault leaves as a thrown Fault (fault.h) before any guest-visible state is
// changed.
using Handler = const Op* (*)(Cpu& cpu, const Op* op);

// Slots of Cpu::r after the sixteen general registers.
enum RegisterSlot : uint8_t { kSlotZero = 16, kSlotFsBase = 17, kSlotGsBase = 18, kSlotCount = 19 };

constexpr uint8_t SlotOffset(unsigned slot) {
  return static_cast<uint8_t>(slot * sizeof(uint64_t));
}

struct Op {
  Handler run = nullptr;
  int64_t disp = 0;  // memory operand's displacement; RIP-relative ones are made absolute
  uint64_t imm = 0;  // immediate, sign-extended; or a direct branch's target RIP
  const void* aux =
      nullptr;  // what the handler needs besides: a SIMD routine, a bound hypercall site
  // The memory operand: r[base] + (r[index] << scale) + r[segment_base] + disp, all byte offsets
  // into Cpu::r.
  uint8_t base = SlotOffset(kSlotZero);
  uint8_t index = SlotOffset(kSlotZero);
  uint8_t segment_base = SlotOffset(kSlotZero);
  uint8_t scale = 0;    // shift count, 0 to 3
  uint8_t segment = 3;  // x86::SegmentName the operand goes through (default DS)
  // Set where the sum above is not simply the linear address: legacy segmentation, or a 16- or
  // 32-bit address size.
  bool checked_segment = false;
  uint8_t address_size = 8;  // 2, 4 or 8 bytes
  uint8_t operand_size = 8;  // 1, 2, 4, 8, 16 bytes
  uint8_t reg = 0;           // register operand (ModRM.reg), byte offset into Cpu::r, or
                             // XMM/MMX/segment/control number
  uint8_t rm = 0;            // register operand (ModRM.rm, or opcode register), likewise
  uint8_t length = 0;        // of the instruction in bytes
  uint8_t flags = 0;         // OpFlag
  uint16_t offset = 0;       // of the instruction from its block's first byte
  uint16_t mnemonic = 0;     // ZydisMnemonic, for diagnostics
};

enum OpFlag : uint8_t {
  kOpLock = 1 << 0,
  kOpRep = 1 << 1,     // F3 on a string instruction
  kOpRepne = 1 << 2,   // F2 likewise
  kOpMemory = 1 << 3,  // the rm operand is memory
  kOpPair = 1 << 4,    // executes two instructions (decode/decoder.h, Fuse)
};

}  // namespace trapline::engine::soft

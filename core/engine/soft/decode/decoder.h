// SPDX-License-Identifier: Apache-2.0
// Instruction bytes to Ops (Intel SDM volume 2, chapter 2 and the opcode maps; Zydis knows the
// tables).
//
// Decodes as a GenuineIntel CPU does where vendors differ. Whatever cannot be executed still
// decodes, into an Op that raises the right fault when it is run: #UD for what is no instruction of
// this CPU, #GP(0) for more than 15 bytes. All functions are thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "core/engine/soft/decode/binding.h"
#include "core/engine/soft/op.h"

namespace trapline::engine::soft {

constexpr unsigned kMaxInstructionLength = 15;

enum class DecodeStatus {
  kDone,      // op is complete
  kTooShort,  // the instruction goes on behind the bytes that were given: fetching them faults, or
              // give more
};

struct DecodeResult {
  DecodeStatus status = DecodeStatus::kDone;
  bool ends_block = false;  // nothing may follow op in its block
};

// Decodes the instruction at bytes[0], which stands at offset rip in CS; 15 bytes are always
// enough, fewer will do where the instruction is shorter. Fills all of *op but Op::offset, which
// belongs to the block's builder.
DecodeResult Decode(const DecodeContext& context, uint64_t rip, std::span<const uint8_t> bytes,
                    Op* op);

// Makes one Op of two neighbours in a block where there is a handler for the pair (CMP or TEST and
// the Jcc behind it). True: *first now executes both, its length is the sum, its instruction count
// two, and second is to be dropped; the pair ends its block as second did. A fault of the pair is
// always the first one's, and its state that before the pair. Not to be called while
// single-stepping or with instruction breakpoints on.
bool Fuse(const DecodeContext& context, Op* first, const Op& second);

}  // namespace trapline::engine::soft

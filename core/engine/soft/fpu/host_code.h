// SPDX-License-Identifier: Apache-2.0
// Floating-point and SIMD instructions executed by the host itself.
//
// The host is an x86-64 processor too, and knows better than any code of ours what its x87 and SSE
// instructions do: results, flags, rounding, denormals, exceptions. So for each distinct guest
// instruction a few host instructions are put together once: load the guest's registers, the
// instruction itself with its memory operand replaced by a buffer of ours, store the registers.
// Only encodings that the decoder has taken apart and that the CPU advertises get here, and they
// can reach no memory but that buffer.
//
// Two kinds of frame. `vector`: one or two XMM registers and MXCSR are loaded; for SSE instructions
// on XMM registers alone. `full`: the whole FXSAVE image is loaded and stored; for x87 and MMX.
//
// The code lies in a memfd that is mapped twice, once to write and once to execute, so no page is
// ever both.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/engine/soft/fpu/fpu_state.h"

namespace trapline::engine::soft {

// What the instruction left in RAX and RFLAGS.
struct HostResult {
  uint64_t rax;
  uint64_t flags;
};

// vector: destination (in XMM0), source (in XMM1 for register forms, else what the memory operand
// points to), MXCSR in and out.
using VectorCode = HostResult (*)(Xmm* destination, const void* source, uint32_t* mxcsr,
                                  uint64_t rax);
// full: the state, what the memory operand points to.
using FullCode = HostResult (*)(FpuState* state, void* memory, uint64_t rax, uint64_t flags);

// Thread-safe. Null where the host gives no memory for code.
VectorCode VectorCodeFor(std::span<const uint8_t> instruction, bool source_in_register,
                         bool uses_mxcsr);
FullCode FullCodeFor(std::span<const uint8_t> instruction, bool takes_flags);

}  // namespace trapline::engine::soft

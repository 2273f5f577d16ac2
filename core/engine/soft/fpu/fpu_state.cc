// SPDX-License-Identifier: Apache-2.0
// What a processor makes of an image that it is given: reserved bits fall away, B and ES follow
// from the exceptions that wait.
#include "core/engine/soft/fpu/fpu_state.h"

#include <immintrin.h>

namespace trapline::engine::soft {

void FpuState::Normalise() {
  mxcsr &= kMxcsrMask;
  mxcsr_mask = kMxcsrMask;
  // Some processors keep these only while an exception waits.
  uint16_t last_opcode = opcode;
  uint64_t last_instruction = instruction_pointer, last_data = data_pointer;
  unsigned host_mxcsr = _mm_getcsr();
  asm volatile("fxrstor64 %0; fxsave64 %0; fninit"
               : "+m"(*this)
               :
               : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                 "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st", "st(1)", "st(2)",
                 "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
  _mm_setcsr(host_mxcsr);
  opcode = last_opcode;
  instruction_pointer = last_instruction;
  data_pointer = last_data;
}

}  // namespace trapline::engine::soft

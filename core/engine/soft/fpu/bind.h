// SPDX-License-Identifier: Apache-2.0
// The groups of floating-point and SIMD instructions. Each binder refuses what is not its own.
#pragma once

#include "core/engine/soft/cpu.h"
#include "core/engine/soft/decode/binding.h"

namespace trapline::engine::soft {

// FXSAVE, FXRSTOR, LDMXCSR, STMXCSR, FNSTSW AX, FWAIT, EMMS and the like: the state itself.
bool BindFpuState(const Instruction& instruction, Op& op);
// Plain moves between XMM registers, memory and general registers.
bool BindVectorMove(const Instruction& instruction, Op& op);
// Everything else on XMM registers.
bool BindVector(const Instruction& instruction, Op& op);
// x87 and MMX.
bool BindFull(const Instruction& instruction, Op& op);

// #UD or #NM where the control registers forbid the instruction (SDM volume 3, tables 2-2 and
// 13-1).
inline void CheckX87(const Cpu& cpu) {
  if (cpu.cr0 & (x86::cr0::kEm | x86::cr0::kTs)) Raise(x86::Vector::kDeviceNotAvailable);
}
inline void CheckMmx(const Cpu& cpu) {
  if (cpu.cr0 & x86::cr0::kEm) RaiseUd();
  if (cpu.cr0 & x86::cr0::kTs) Raise(x86::Vector::kDeviceNotAvailable);
}
inline void CheckSse(const Cpu& cpu) {
  if ((cpu.cr0 & x86::cr0::kEm) || !(cpu.cr4 & x86::cr4::kOsfxsr)) RaiseUd();
  if (cpu.cr0 & x86::cr0::kTs) Raise(x86::Vector::kDeviceNotAvailable);
}
// #GP unless the operand is aligned to 16 bytes, before its address is looked at.
inline void RequireAligned(uint64_t linear) {
  if (linear & 15) RaiseGp();
}
// SSE instructions run with all exceptions masked and no flag set: the host's MXCSR for that. An
// unmasked underflow is any tiny result, a masked one only an inexact one: flushing to zero makes
// every tiny result inexact, and then it is not seen anyway.
inline uint32_t QuietMxcsr(const Cpu& cpu) {
  constexpr uint32_t kFlags = 0x3f, kMasks = 0x1f80, kUnderflowMask = 1 << 11, kFlush = 1 << 15;
  uint32_t flush = cpu.fpu.mxcsr & kUnderflowMask ? 0 : kFlush;
  return (cpu.fpu.mxcsr & ~kFlags) | kMasks | flush;
}
// Puts the flags of an MXCSR that such an instruction left into the guest's; #XM if one of them is
// not masked there, and then nothing else of the instruction may show. (PE beside an unmasked
// overflow or underflow is that of the masked answer, not of an answer with a larger exponent.)
void AccountSse(Cpu& cpu, uint32_t mxcsr);
// A pending unmasked x87 exception is raised by the next instruction that waits for it.
inline void CheckPending(const Cpu& cpu) {
  constexpr uint16_t kErrorSummary = 0x80;
  if (cpu.fpu.status & kErrorSummary) Raise(x86::Vector::kX87Error);
}

}  // namespace trapline::engine::soft

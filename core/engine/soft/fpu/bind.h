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
// SSE instructions run with all exceptions masked and no flag set: the host's MXCSR for that.
inline uint32_t QuietMxcsr(const Cpu& cpu) {
  constexpr uint32_t kFlags = 0x3f, kMasks = 0x1f80;
  return (cpu.fpu.mxcsr & ~kFlags) | kMasks;
}
// Puts the flags of an MXCSR that such an instruction left into the guest's; #XM if one of them is
// not masked there, and then nothing else of the instruction may show.
void AccountSse(Cpu& cpu, uint32_t mxcsr);
// A pending unmasked x87 exception is raised by the next instruction that waits for it.
inline void CheckPending(const Cpu& cpu) {
  constexpr uint16_t kErrorSummary = 0x80;
  if (cpu.fpu.status & kErrorSummary) Raise(x86::Vector::kX87Error);
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Descriptors and segment registers (Intel SDM volume 3, chapters 3 and 5).
#pragma once

#include <cstdint>

#include "core/engine/soft/cpu.h"

namespace trapline::engine::soft {

// A descriptor as it stands in the GDT or LDT; of a 16-byte system descriptor the first eight
// bytes.
struct Descriptor {
  uint64_t low = 0;
  uint64_t address = 0;  // linear, for the accessed and busy bits

  uint16_t attributes() const { return static_cast<uint16_t>((low >> 40) & 0xf0ff); }
  uint32_t limit() const;
  uint64_t base() const { return ((low >> 16) & 0xffffff) | (((low >> 56) & 0xff) << 24); }
  unsigned dpl() const { return (low >> 45) & 3; }
  unsigned type() const { return (low >> 40) & 0xf; }
  bool present() const { return (low >> 47) & 1; }
  bool system() const { return !((low >> 44) & 1); }
  bool code() const { return !system() && ((low >> 43) & 1); }
  bool conforming() const { return (low >> 42) & 1; }  // code
  bool readable() const { return (low >> 41) & 1; }    // code
  bool writable() const { return !code() && ((low >> 41) & 1); }
  bool long_code() const { return (low >> 53) & 1; }
  bool default32() const { return (low >> 54) & 1; }
};

// System descriptor types.
constexpr unsigned kTypeTss16Available = 1, kTypeLdt = 2, kTypeTss16Busy = 3, kTypeCallGate16 = 4,
                   kTypeTaskGate = 5, kTypeInterruptGate16 = 6, kTypeTrapGate16 = 7,
                   kTypeTssAvailable = 9, kTypeTssBusy = 11, kTypeCallGate = 12,
                   kTypeInterruptGate = 14, kTypeTrapGate = 15;

constexpr uint16_t kSelectorErrorMask = 0xfffc;

inline bool NullSelector(uint16_t selector) { return (selector & kSelectorErrorMask) == 0; }

// The descriptor that a selector names; `vector`(selector) where it lies outside its table. Null
// selectors are the caller's business.
Descriptor ReadDescriptor(Cpu& cpu, uint16_t selector,
                          x86::Vector vector = x86::Vector::kGeneralProtection);
// Bits 32 to 63 of a 16-byte descriptor's base.
uint64_t ReadDescriptorHigh(Cpu& cpu, uint16_t selector, const Descriptor& descriptor);
// Sets the accessed bit in memory where it is clear.
void MarkAccessed(Cpu& cpu, Descriptor& descriptor);

// A segment register's hidden part as that descriptor says.
x86::Segment SegmentOf(uint16_t selector, const Descriptor& descriptor);

// MOV, POP, LES and the like into ES, SS, DS, FS, GS. All checks come before any change.
void LoadSegment(Cpu& cpu, x86::SegmentName name, uint16_t selector);
// CS as real and virtual-8086 mode have it.
void LoadRealCs(Cpu& cpu, uint16_t selector);
// A stack segment for this CPL; faults are `vector`(selector).
x86::Segment CheckStackSegment(Cpu& cpu, uint16_t selector, unsigned cpl, x86::Vector vector);
// Clears what an outer level may not keep when it is returned to: data segments with a lower DPL.
void DropInnerSegments(Cpu& cpu);

// LLDT and LTR.
void LoadLdt(Cpu& cpu, uint16_t selector);
void LoadTaskRegister(Cpu& cpu, uint16_t selector);

// A stack pointer from the current TSS: RSPn, ESPn or SPn with its SS (zero in long mode).
struct TssStack {
  uint64_t sp;
  uint16_t ss;
};
TssStack ReadTssStack(Cpu& cpu, unsigned level);
uint64_t ReadTssIst(Cpu& cpu, unsigned index);
// Throws #GP(0) unless the I/O permission bitmap (or IOPL) lets the guest use these ports.
void CheckPortPermission(Cpu& cpu, uint16_t port, unsigned size);

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Descriptor tables, segment loads and the TSS.
#include "core/engine/soft/segments.h"

namespace trapline::engine::soft {
namespace {

namespace attr = x86::segment_attribute;

constexpr uint64_t kAccessedBit = uint64_t{1} << 40;
constexpr uint64_t kBusyBit = uint64_t{1} << 41;
constexpr uint16_t kLocalTable = 4;
constexpr uint32_t kRealLimit = 0xffff;
constexpr uint16_t kRealData = 0x93, kRealCode = 0x9b;
constexpr uint16_t kVirtual8086 = 0xf3;

bool IsTss32(const Cpu& cpu) { return (cpu.tr.attributes & attr::kTypeMask) >= kTypeTssAvailable; }

}  // namespace

uint32_t Descriptor::limit() const {
  auto raw = static_cast<uint32_t>((low & 0xffff) | ((low >> 32) & 0xf0000));
  return (low >> 55) & 1 ? raw << 12 | 0xfff : raw;
}

Descriptor ReadDescriptor(Cpu& cpu, uint16_t selector, x86::Vector vector) {
  uint64_t base = cpu.gdtr.base;
  uint32_t limit = cpu.gdtr.limit;
  if (selector & kLocalTable) {
    base = cpu.ldtr.base;
    limit = cpu.ldtr.attributes & attr::kPresent ? cpu.ldtr.limit : 0;
  }
  uint32_t offset = selector & ~7u;
  if (offset + 7 > limit) Raise(vector, selector & kSelectorErrorMask);
  uint64_t address = base + offset;
  return {cpu.LoadSystem<uint64_t>(address), address};
}

uint64_t ReadDescriptorHigh(Cpu& cpu, uint16_t selector, const Descriptor& descriptor) {
  uint32_t limit = selector & kLocalTable ? cpu.ldtr.limit : cpu.gdtr.limit;
  if ((selector & ~7u) + 15 > limit) RaiseGp(selector & kSelectorErrorMask);
  return (cpu.LoadSystem<uint64_t>(descriptor.address + 8) & 0xffffffff) << 32;
}

void MarkAccessed(Cpu& cpu, Descriptor& descriptor) {
  if (descriptor.low & kAccessedBit) return;
  descriptor.low |= kAccessedBit;
  cpu.StoreSystem<uint8_t>(descriptor.address + 5, static_cast<uint8_t>(descriptor.low >> 40));
}

x86::Segment SegmentOf(uint16_t selector, const Descriptor& descriptor) {
  return {selector, descriptor.attributes(), descriptor.limit(), descriptor.base()};
}

void LoadRealCs(Cpu& cpu, uint16_t selector) {
  x86::Segment& cs = cpu.segment[x86::kCs];
  cs.selector = selector;
  cs.base = static_cast<uint64_t>(selector) << 4;
  if (cpu.Virtual8086()) {
    cs.limit = kRealLimit;
    cs.attributes = kVirtual8086;
  } else {
    cs.attributes = kRealCode;
  }
}

x86::Segment CheckStackSegment(Cpu& cpu, uint16_t selector, unsigned cpl, x86::Vector vector) {
  uint32_t error = selector & kSelectorErrorMask;
  if (NullSelector(selector)) {
    bool allowed = cpu.LongMode() && cpl != 3 && (selector & 3) == cpl;
    if (!allowed) Raise(vector, 0);
    return {selector, static_cast<uint16_t>(cpl << attr::kDplShift), 0, 0};
  }
  Descriptor d = ReadDescriptor(cpu, selector, vector);
  if ((selector & 3u) != cpl || d.system() || !d.writable() || d.dpl() != cpl) Raise(vector, error);
  if (!d.present()) Raise(x86::Vector::kStackFault, error);
  MarkAccessed(cpu, d);
  return SegmentOf(selector, d);
}

void LoadSegment(Cpu& cpu, x86::SegmentName name, uint16_t selector) {
  x86::Segment& s = cpu.segment[name];
  if (!cpu.ProtectedMode() || cpu.Virtual8086()) {
    s.selector = selector;
    s.base = static_cast<uint64_t>(selector) << 4;
    if (cpu.Virtual8086()) {
      s.limit = kRealLimit;
      s.attributes = kVirtual8086;
    } else {
      s.attributes = kRealData;
    }
    cpu.UpdateMode();
    return;
  }
  if (name == x86::kSs) {
    // In 64-bit mode a null SS is allowed below CPL 3.
    if (NullSelector(selector) && !cpu.Code64()) RaiseGp();
    s = CheckStackSegment(cpu, selector, cpu.cpl, x86::Vector::kGeneralProtection);
    cpu.UpdateMode();
    return;
  }
  if (NullSelector(selector)) {
    s = {selector, 0, 0, 0};
    cpu.UpdateMode();
    return;
  }
  uint32_t error = selector & kSelectorErrorMask;
  Descriptor d = ReadDescriptor(cpu, selector);
  if (d.system() || (d.code() && !d.readable())) RaiseGp(error);
  bool conforming = d.code() && d.conforming();
  if (!conforming && ((selector & 3u) > d.dpl() || cpu.cpl > d.dpl())) RaiseGp(error);
  if (!d.present()) Raise(x86::Vector::kSegmentNotPresent, error);
  MarkAccessed(cpu, d);
  s = SegmentOf(selector, d);
  cpu.UpdateMode();
}

void DropInnerSegments(Cpu& cpu) {
  for (x86::SegmentName name : {x86::kEs, x86::kDs, x86::kFs, x86::kGs}) {
    x86::Segment& s = cpu.segment[name];
    // A null one keeps its base, which 64-bit code may have set on its own; so does one that
    // becomes null.
    if (!(s.attributes & attr::kPresent)) continue;
    unsigned dpl = (s.attributes >> attr::kDplShift) & 3;
    bool conforming =
        (s.attributes & attr::kCode) && (s.attributes & attr::kExpandDownOrConforming);
    if (dpl < cpu.cpl && !conforming) s = {0, 0, 0, s.base};
  }
}

void LoadLdt(Cpu& cpu, uint16_t selector) {
  if (NullSelector(selector)) {
    cpu.ldtr = {selector, 0, 0, 0};
    return;
  }
  uint32_t error = selector & kSelectorErrorMask;
  if (selector & kLocalTable) RaiseGp(error);
  Descriptor d = ReadDescriptor(cpu, selector);
  if (!d.system() || d.type() != kTypeLdt) RaiseGp(error);
  if (!d.present()) Raise(x86::Vector::kSegmentNotPresent, error);
  x86::Segment ldtr = SegmentOf(selector, d);
  if (cpu.LongMode()) {
    ldtr.base |= ReadDescriptorHigh(cpu, selector, d);
    if (!x86::Canonical(ldtr.base)) RaiseGp(error);
  }
  cpu.ldtr = ldtr;
}

void LoadTaskRegister(Cpu& cpu, uint16_t selector) {
  uint32_t error = selector & kSelectorErrorMask;
  if (NullSelector(selector) || selector & kLocalTable) RaiseGp(error);
  Descriptor d = ReadDescriptor(cpu, selector);
  bool available = d.system() && (d.type() == kTypeTssAvailable ||
                                  (d.type() == kTypeTss16Available && !cpu.LongMode()));
  if (!available) RaiseGp(error);
  if (!d.present()) Raise(x86::Vector::kSegmentNotPresent, error);
  x86::Segment tr = SegmentOf(selector, d);
  if (cpu.LongMode()) {
    tr.base |= ReadDescriptorHigh(cpu, selector, d);
    if (!x86::Canonical(tr.base)) RaiseGp(error);
  }
  d.low |= kBusyBit;
  cpu.StoreSystem<uint8_t>(d.address + 5, static_cast<uint8_t>(d.low >> 40));
  tr.attributes |= attr::kWritableOrReadable;  // the busy bit has the same place
  cpu.tr = tr;
}

TssStack ReadTssStack(Cpu& cpu, unsigned level) {
  uint32_t error = cpu.tr.selector & kSelectorErrorMask;
  unsigned offset = cpu.LongMode() ? 4 + 8 * level : IsTss32(cpu) ? 4 + 8 * level : 2 + 4 * level;
  unsigned size = cpu.LongMode() ? 8 : IsTss32(cpu) ? 6 : 4;
  if (offset + size - 1 > cpu.tr.limit) Raise(x86::Vector::kInvalidTss, error);
  uint64_t at = cpu.tr.base + offset;
  if (cpu.LongMode()) return {cpu.LoadSystem<uint64_t>(at), 0};
  if (IsTss32(cpu)) return {cpu.LoadSystem<uint32_t>(at), cpu.LoadSystem<uint16_t>(at + 4)};
  return {cpu.LoadSystem<uint16_t>(at), cpu.LoadSystem<uint16_t>(at + 2)};
}

uint64_t ReadTssIst(Cpu& cpu, unsigned index) {
  uint32_t offset = 0x24 + 8 * (index - 1);
  if (offset + 7 > cpu.tr.limit) {
    Raise(x86::Vector::kInvalidTss, cpu.tr.selector & kSelectorErrorMask);
  }
  return cpu.LoadSystem<uint64_t>(cpu.tr.base + offset);
}

void CheckPortPermission(Cpu& cpu, uint16_t port, unsigned size) {
  if (!cpu.ProtectedMode()) return;
  if (!cpu.Virtual8086() && cpu.cpl <= cpu.Iopl()) return;
  constexpr uint32_t kBitmapOffset = 0x66;
  if (!IsTss32(cpu) || kBitmapOffset + 1 > cpu.tr.limit) RaiseGp();
  uint32_t at = cpu.LoadSystem<uint16_t>(cpu.tr.base + kBitmapOffset) + port / 8u;
  if (at + 1 > cpu.tr.limit) RaiseGp();
  unsigned bits = cpu.LoadSystem<uint16_t>(cpu.tr.base + at) >> (port % 8);
  if (bits & ((1u << size) - 1)) RaiseGp();
}

}  // namespace trapline::engine::soft

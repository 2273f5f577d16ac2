// SPDX-License-Identifier: Apache-2.0
// Instructions on the floating-point state itself: FXSAVE FXRSTOR LDMXCSR STMXCSR FNSTSW FNSTCW
// FWAIT, MASKMOVQ and MASKMOVDQU.
#include "core/engine/soft/fpu/bind.h"

namespace trapline::engine::soft {
namespace {

constexpr size_t kLegacyXmm = 8;  // outside 64-bit mode there are eight
constexpr size_t kXmmOffset = 160, kSavedBytes = 416;

// Here the address comes first: where it is not canonical, it may be #SS.
void RequireAlignedImage(Cpu& cpu, uint64_t linear) {
  if (cpu.LongMode() && !x86::Canonical(linear)) cpu.HostForRead(linear, 1);
  RequireAligned(linear);
}

const Op* Fxsave(Cpu& cpu, const Op* op) {
  CheckMmx(cpu);
  uint64_t linear = cpu.AddressForWrite(op, 512);
  RequireAlignedImage(cpu, linear);
  cpu.ProbeWrite(linear, 512);
  FpuState image = cpu.fpu;
  image.mxcsr_mask = kMxcsrMask;
  // The reserved bytes at the end are not written.
  size_t size = cpu.Code64() ? kSavedBytes : kXmmOffset + kLegacyXmm * sizeof(Xmm);
  cpu.WriteLinear(linear, &image, size);
  return cpu.Next(op);
}
const Op* Fxrstor(Cpu& cpu, const Op* op) {
  CheckMmx(cpu);
  uint64_t linear = cpu.Address(op, 512);
  RequireAlignedImage(cpu, linear);
  FpuState image = cpu.fpu;
  size_t size = cpu.Code64() ? kSavedBytes : kXmmOffset + kLegacyXmm * sizeof(Xmm);
  cpu.ReadLinear(linear, &image, size);
  cpu.HostForRead(linear + sizeof image - 1, 1);  // all of it must be there
  if (image.mxcsr & ~kMxcsrMask) RaiseGp();
  cpu.fpu = image;
  cpu.fpu.Normalise();
  return op + 1;
}
const Op* Ldmxcsr(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  uint32_t value = cpu.Load<uint32_t>(cpu.Address(op, 4));
  if (value & ~kMxcsrMask) RaiseGp();
  cpu.fpu.mxcsr = value;
  return op + 1;
}
const Op* Stmxcsr(Cpu& cpu, const Op* op) {
  CheckSse(cpu);
  cpu.Store<uint32_t>(cpu.AddressForWrite(op, 4), cpu.fpu.mxcsr);
  return cpu.Next(op);
}
const Op* StoreStatusAx(Cpu& cpu, const Op* op) {
  CheckX87(cpu);
  cpu.Set<uint16_t>(SlotOffset(x86::kRax), cpu.fpu.status);
  return op + 1;
}
const Op* Wait(Cpu& cpu, const Op* op) {
  constexpr uint64_t kBoth = x86::cr0::kMp | x86::cr0::kTs;
  if ((cpu.cr0 & kBoth) == kBoth) Raise(x86::Vector::kDeviceNotAvailable);
  CheckPending(cpu);
  return op + 1;
}

// Bytes whose mask has the top bit set go to [rDI].
template <bool kMmx>
const Op* MaskedStore(Cpu& cpu, const Op* op) {
  if (kMmx) {
    CheckMmx(cpu);
    CheckPending(cpu);
    cpu.fpu.EnterMmx();
  } else {
    CheckSse(cpu);
  }
  constexpr size_t kSize = kMmx ? 8 : 16;
  uint8_t data[16], mask[16];
  if (kMmx) {
    std::memcpy(data, &cpu.fpu.st[op->reg].mantissa, 8);
    std::memcpy(mask, &cpu.fpu.st[op->rm].mantissa, 8);
  } else {
    std::memcpy(data, &cpu.fpu.xmm[op->reg], 16);
    std::memcpy(mask, &cpu.fpu.xmm[op->rm], 16);
  }
  uint64_t offset = cpu.r[x86::kRdi];
  if (op->address_size == 4) offset = static_cast<uint32_t>(offset);
  if (op->address_size == 2) offset = static_cast<uint16_t>(offset);
  uint64_t linear = cpu.Linear(op->segment, offset, kSize, true);
  for (size_t i = 0; i < kSize; ++i) {
    if (mask[i] & 0x80) cpu.ProbeWrite(linear + i, 1);
  }
  for (size_t i = 0; i < kSize; ++i) {
    if (mask[i] & 0x80) cpu.Store<uint8_t>(linear + i, data[i]);
  }
  return cpu.Next(op);
}

}  // namespace

bool BindFpuState(const Instruction& in, Op& op) {
  switch (in.mnemonic()) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
      op.run = Fxsave;
      return true;
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
      op.run = Fxrstor;
      return true;
    case ZYDIS_MNEMONIC_LDMXCSR:
      op.run = Ldmxcsr;
      return true;
    case ZYDIS_MNEMONIC_STMXCSR:
      op.run = Stmxcsr;
      return true;
    case ZYDIS_MNEMONIC_FWAIT:
      op.run = Wait;
      return true;
    case ZYDIS_MNEMONIC_MASKMOVQ:
      op.run = MaskedStore<true>;
      return true;
    case ZYDIS_MNEMONIC_MASKMOVDQU:
      op.run = MaskedStore<false>;
      return true;
    case ZYDIS_MNEMONIC_FNSTSW:
      if (op.flags & kOpMemory) return false;
      op.run = StoreStatusAx;
      return true;
    default:
      return false;
  }
}

}  // namespace trapline::engine::soft

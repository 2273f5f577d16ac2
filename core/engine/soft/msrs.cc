// SPDX-License-Identifier: Apache-2.0
// The MSRs of the processor core. Those of the interrupt controller and of the hypervisor belong to
// the host.
#include "core/engine/soft/msrs.h"

#include <cstddef>

namespace trapline::engine::soft {
namespace {

constexpr uint32_t kTsc = 0x10, kPlatformId = 0x17, kFeatureControl = 0x3a, kTscAdjust = 0x3b,
                   kMicrocodeUpdate = 0x79, kMicrocode = 0x8b, kMtrrCap = 0xfe, kSysenterCs = 0x174,
                   kSysenterEsp = 0x175, kSysenterEip = 0x176, kMcgCap = 0x179, kMcgStatus = 0x17a,
                   kMiscEnable = 0x1a0, kMtrrVariable = 0x200, kMtrrVariableEnd = 0x210,
                   kMtrrFixed64K = 0x250, kMtrrFixed16K = 0x258, kMtrrFixed16K2 = 0x259,
                   kMtrrFixed4K = 0x268, kMtrrFixed4KEnd = 0x270, kPat = 0x277,
                   kMtrrDefault = 0x2ff, kMc0 = 0x400, kMc0End = 0x404, kEfer = 0xc0000080,
                   kStar = 0xc0000081, kLstar = 0xc0000082, kCstar = 0xc0000083,
                   kFmask = 0xc0000084, kFsBase = 0xc0000100, kGsBase = 0xc0000101,
                   kKernelGsBase = 0xc0000102, kTscAux = 0xc0000103;
constexpr uint64_t kMcgCapValue = 1;       // one bank
constexpr uint64_t kMtrrCapValue = 0x508;  // eight variable ranges, fixed ranges, write-combining
constexpr uint64_t kMicrocodeRevision = uint64_t{0x218} << 32;

void RequireCanonical(uint64_t value) {
  if (!x86::Canonical(value)) RaiseGp();
}

// Plain 64-bit storage: where it is, and whether it holds an address.
struct Plain {
  uint32_t index;
  uint64_t ModelRegisters::*field;
  bool canonical;
};
constexpr Plain kPlain[] = {
    {kStar, &ModelRegisters::star, false},
    {kLstar, &ModelRegisters::lstar, true},
    {kCstar, &ModelRegisters::cstar, true},
    {kFmask, &ModelRegisters::fmask, false},
    {kKernelGsBase, &ModelRegisters::kernel_gs_base, true},
    {kSysenterCs, &ModelRegisters::sysenter_cs, false},
    {kSysenterEsp, &ModelRegisters::sysenter_esp, true},
    {kSysenterEip, &ModelRegisters::sysenter_eip, true},
    {kMcgStatus, &ModelRegisters::mcg_status, false},
    {kMiscEnable, &ModelRegisters::misc_enable, false},
    {kMtrrDefault, &ModelRegisters::mtrr_default, false},
};
const Plain* FindPlain(uint32_t index) {
  for (const Plain& plain : kPlain) {
    if (plain.index == index) return &plain;
  }
  return nullptr;
}

uint64_t* FindMtrr(Cpu& cpu, uint32_t index) {
  if (index >= kMtrrVariable && index < kMtrrVariableEnd)
    return &cpu.msr.mtrr_variable[index - kMtrrVariable];
  if (index == kMtrrFixed64K) return &cpu.msr.mtrr_fixed[0];
  if (index == kMtrrFixed16K || index == kMtrrFixed16K2)
    return &cpu.msr.mtrr_fixed[1 + index - kMtrrFixed16K];
  if (index >= kMtrrFixed4K && index < kMtrrFixed4KEnd)
    return &cpu.msr.mtrr_fixed[3 + index - kMtrrFixed4K];
  return nullptr;
}

void WriteEfer(Cpu& cpu, uint64_t value) {
  using namespace x86::efer;
  if (value & ~(kSce | kLme | kLma | kNxe)) RaiseGp();
  if (((value ^ cpu.efer) & kLme) && (cpu.cr0 & x86::cr0::kPg)) RaiseGp();
  cpu.efer = (value & ~kLma) | (cpu.efer & kLma);
  cpu.FlushTlb(false);
}

void WritePat(Cpu& cpu, uint64_t value) {
  for (unsigned i = 0; i < 8; ++i) {
    uint64_t type = (value >> (8 * i)) & 0xff;
    if (type > 7 || type == 2 || type == 3) RaiseGp();
  }
  cpu.msr.pat = value;
}

// CTL, STATUS, ADDR, MISC (SDM volume 3, section 15.3.2).
void WriteMachineCheckBank(Cpu& cpu, uint32_t which, uint64_t value) {
  if (which == 0 && value != 0 && value != ~uint64_t{0}) RaiseGp();
  if (which == 1 && value != 0) RaiseGp();
  cpu.msr.mc0[which] = value;
}

}  // namespace

uint64_t ReadMsr(Cpu& cpu, uint32_t index) {
  if (const Plain* plain = FindPlain(index)) return cpu.msr.*plain->field;
  if (const uint64_t* mtrr = FindMtrr(cpu, index)) return *mtrr;
  switch (index) {
    case kTsc:
      return cpu.host.Tsc() + cpu.msr.tsc_offset;
    case kTscAdjust:
      return cpu.msr.tsc_adjust;
    case kTscAux:
      return cpu.msr.tsc_aux;
    case kEfer:
      return cpu.efer;
    case kFsBase:
      return cpu.segment[x86::kFs].base;
    case kGsBase:
      return cpu.segment[x86::kGs].base;
    case kPat:
      return cpu.msr.pat;
    case kMcgCap:
      return kMcgCapValue;
    case kMtrrCap:
      return kMtrrCapValue;
    case kMicrocode:
      return kMicrocodeRevision;
    case kPlatformId:
      return 0;
    case kFeatureControl:
      return 1;  // locked, no VMX
  }
  if (index >= kMc0 && index < kMc0End) return cpu.msr.mc0[index - kMc0];
  uint64_t value;
  if (!cpu.host.ReadMsr(index, &value)) RaiseGp();
  return value;
}

void WriteMsr(Cpu& cpu, uint32_t index, uint64_t value) {
  if (const Plain* plain = FindPlain(index)) {
    if (plain->canonical) RequireCanonical(value);
    cpu.msr.*plain->field = value;
    return;
  }
  if (uint64_t* mtrr = FindMtrr(cpu, index)) {
    *mtrr = value;
    return;
  }
  switch (index) {
    case kTsc: {
      // Writing the TSC moves TSC_ADJUST by as much (SDM volume 3, section 17.17.3).
      uint64_t delta = value - (cpu.host.Tsc() + cpu.msr.tsc_offset);
      cpu.msr.tsc_offset += delta;
      cpu.msr.tsc_adjust += delta;
      return;
    }
    case kTscAdjust:
      cpu.msr.tsc_offset += value - cpu.msr.tsc_adjust;
      cpu.msr.tsc_adjust = value;
      return;
    case kTscAux:
      if (value >> 32) RaiseGp();
      cpu.msr.tsc_aux = value;
      return;
    case kEfer:
      WriteEfer(cpu, value);
      return;
    case kFsBase:
    case kGsBase:
      RequireCanonical(value);
      cpu.segment[index == kFsBase ? x86::kFs : x86::kGs].base = value;
      cpu.UpdateMode();
      return;
    case kPat:
      WritePat(cpu, value);
      return;
    case kMicrocode:
    case kMicrocodeUpdate:
      return;
  }
  if (index >= kMc0 && index < kMc0End) {
    WriteMachineCheckBank(cpu, index - kMc0, value);
    return;
  }
  if (!cpu.host.WriteMsr(index, value)) RaiseGp();
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// A plain processor of Intel's that executes in order: what works is advertised, nothing else is.
// Its model is one that operating systems know to speculate on nothing, so that they leave out the
// page-table isolation and the return thunks that would only cost time here.
#include "core/engine/soft/cpuid.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace trapline::engine::soft {
namespace {

constexpr uint32_t kMaxLeaf = 0x16, kMaxExtendedLeaf = 0x80000008;
constexpr uint32_t kFamily = 6, kModel = 0x1c, kStepping = 10;  // Bonnell
constexpr uint32_t kSignature =
    (kModel >> 4) << 16 | kFamily << 8 | (kModel & 0xf) << 4 | kStepping;

// Leaf 1, EDX.
constexpr uint32_t kFpu = 1u << 0, kDe = 1u << 2, kPse = 1u << 3, kTsc = 1u << 4, kMsr = 1u << 5,
                   kPae = 1u << 6, kMce = 1u << 7, kCx8 = 1u << 8, kApic = 1u << 9, kSep = 1u << 11,
                   kMtrr = 1u << 12, kPge = 1u << 13, kMca = 1u << 14, kCmov = 1u << 15,
                   kPat = 1u << 16, kPse36 = 1u << 17, kClflush = 1u << 19, kMmx = 1u << 23,
                   kFxsr = 1u << 24, kSse = 1u << 25, kSse2 = 1u << 26, kHtt = 1u << 28;
// Leaf 1, ECX.
constexpr uint32_t kCx16 = 1u << 13, kX2apic = 1u << 21, kMovbe = 1u << 22, kPopcnt = 1u << 23,
                   kTscDeadline = 1u << 24, kHypervisor = 1u << 31;
// Leaf 7, EBX, ECX, EDX.
constexpr uint32_t kFsgsbase = 1u << 0, kTscAdjust = 1u << 1, kSmep = 1u << 7, kErms = 1u << 9,
                   kSmap = 1u << 20, kClflushopt = 1u << 23, kClwb = 1u << 24;
constexpr uint32_t kUmip = 1u << 2;
constexpr uint32_t kFsrm = 1u << 4;
// Leaf 0x80000001.
constexpr uint32_t kSyscall = 1u << 11, kNx = 1u << 20, kPage1G = 1u << 26, kRdtscp = 1u << 27,
                   kLm = 1u << 29;
constexpr uint32_t kLahf = 1u << 0;

constexpr char kBrand[49] = "Trapline software x86-64 CPU";

uint32_t BrandWord(uint32_t leaf, unsigned word) {
  uint32_t value;
  std::memcpy(&value, kBrand + (leaf - 0x80000002) * 16 + word * 4, sizeof value);
  return value;
}

unsigned TopologyShift(uint32_t count) { return count <= 1 ? 0 : 32 - __builtin_clz(count - 1); }

// The local APIC is there until its base MSR disables it.
bool ApicEnabled(Cpu& cpu) {
  constexpr uint32_t kApicBase = 0x1b;
  constexpr uint64_t kEnable = 1u << 11;
  uint64_t value;
  return !cpu.host.ReadMsr(kApicBase, &value) || (value & kEnable);
}

CpuidLeaf Features(Cpu& cpu) {
  uint32_t count = cpu.config.vcpu_count;
  uint32_t ebx =
      cpu.apic_id << 24 | std::min<uint32_t>(1u << TopologyShift(count), 255) << 16 | 8u << 8;
  uint32_t edx = kFpu | kDe | kPse | kTsc | kMsr | kPae | kMce | kCx8 | kApic | kSep | kMtrr |
                 kPge | kMca | kCmov | kPat | kPse36 | kClflush | kMmx | kFxsr | kSse | kSse2;
  if (count > 1) edx |= kHtt;
  if (!ApicEnabled(cpu)) edx &= ~kApic;
  return {kSignature, ebx, kCx16 | kX2apic | kMovbe | kPopcnt | kTscDeadline | kHypervisor, edx};
}

// Every vCPU is a core of its own.
CpuidLeaf Topology(const Cpu& cpu, uint32_t subleaf) {
  constexpr uint32_t kThread = 1u << 8, kCore = 2u << 8;
  if (subleaf == 0) return {0, 1, kThread | subleaf, cpu.apic_id};
  if (subleaf == 1) {
    return {TopologyShift(cpu.config.vcpu_count), cpu.config.vcpu_count, kCore | subleaf,
            cpu.apic_id};
  }
  return {0, 0, subleaf, cpu.apic_id};
}

CpuidLeaf Basic(Cpu& cpu, uint32_t leaf, uint32_t subleaf) {
  switch (leaf) {
    case 0:
      return {kMaxLeaf, 0x756e6547, 0x6c65746e, 0x49656e69};  // "GenuineIntel"
    case 1:
      return Features(cpu);
    case 7:
      if (subleaf != 0) return {};
      return {0, kFsgsbase | kTscAdjust | kSmep | kErms | kSmap | kClflushopt | kClwb, kUmip,
              kFsrm};
    case 0xb:
      return Topology(cpu, subleaf);
    // The crystal is the TSC; Linux wants kHz of a "real" crystal, so it is given as a ratio of 1.
    case 0x15:
      return {1, 1, static_cast<uint32_t>(std::min<uint64_t>(cpu.config.tsc_frequency, 0xffffffff)),
              0};
    case 0x16: {
      auto mhz = static_cast<uint32_t>(cpu.config.tsc_frequency / 1'000'000);
      return {mhz, mhz, 100, 0};
    }
    default:
      return {};
  }
}

CpuidLeaf Extended(uint32_t leaf) {
  switch (leaf) {
    case 0x80000000:
      return {kMaxExtendedLeaf, 0, 0, 0};
    case 0x80000001:
      return {0, 0, kLahf, kSyscall | kNx | kPage1G | kRdtscp | kLm};
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
      return {BrandWord(leaf, 0), BrandWord(leaf, 1), BrandWord(leaf, 2), BrandWord(leaf, 3)};
    case 0x80000007:
      return {0, 0, 0, 1u << 8};  // invariant TSC
    case 0x80000008:
      return {kPhysicalAddressBits | 48u << 8, 0, 0, 0};
    default:
      return {};
  }
}

}  // namespace

CpuidLeaf CpuidOf(Cpu& cpu, uint32_t leaf, uint32_t subleaf) {
  if (leaf >= 0x40000000 && leaf < 0x50000000) {
    return cpu.host.HypervisorCpuid(leaf).value_or(CpuidLeaf{});
  }
  if (leaf >= 0x80000000)
    return leaf <= kMaxExtendedLeaf ? Extended(leaf) : Basic(cpu, kMaxLeaf, subleaf);
  // Beyond the last leaf a processor of Intel's answers with the last one.
  return Basic(cpu, std::min(leaf, kMaxLeaf), subleaf);
}

}  // namespace trapline::engine::soft

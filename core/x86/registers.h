// SPDX-License-Identifier: Apache-2.0
// The architectural state of one logical processor, as data (Intel SDM volume 1, chapter 3; volume
// 3, chapter 2).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace trapline::x86 {

// General-purpose registers in encoding order.
enum Gpr : uint8_t {
  kRax,
  kRcx,
  kRdx,
  kRbx,
  kRsp,
  kRbp,
  kRsi,
  kRdi,
  kR8,
  kR9,
  kR10,
  kR11,
  kR12,
  kR13,
  kR14,
  kR15,
  kGprCount
};

// Segment registers in encoding order.
enum SegmentName : uint8_t { kEs, kCs, kSs, kDs, kFs, kGs, kSegmentCount };

// The descriptor attributes as they stand in bytes 5 and 6 of a descriptor, limit bits removed:
// bits 0-3 type, 4 S, 5-6 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G.
namespace segment_attribute {
constexpr uint16_t kTypeMask = 0xf;
constexpr uint16_t kAccessed = 1u << 0;  // code and data
constexpr uint16_t kWritableOrReadable = 1u << 1;
constexpr uint16_t kExpandDownOrConforming = 1u << 2;
constexpr uint16_t kCode = 1u << 3;
constexpr uint16_t kNotSystem = 1u << 4;
constexpr uint16_t kDplShift = 5;
constexpr uint16_t kDplMask = 3u << kDplShift;
constexpr uint16_t kPresent = 1u << 7;
constexpr uint16_t kLong = 1u << 13;
constexpr uint16_t kDefault32 = 1u << 14;
constexpr uint16_t kGranularity = 1u << 15;
}  // namespace segment_attribute

// A segment register with its hidden part.
struct Segment {
  uint16_t selector = 0;
  uint16_t attributes = 0;  // segment_attribute
  uint32_t limit = 0;       // in bytes, granularity applied
  uint64_t base = 0;

  bool operator==(const Segment&) const = default;
};

struct DescriptorTable {
  uint64_t base = 0;
  uint16_t limit = 0;

  bool operator==(const DescriptorTable&) const = default;
};

// Everything that can be read from or put into a vCPU that is not running.
struct Registers {
  std::array<uint64_t, kGprCount> gpr{};
  uint64_t rip = 0;
  uint64_t rflags = 2;
  std::array<Segment, kSegmentCount> segment{};
  Segment ldtr, tr;
  DescriptorTable gdtr, idtr;
  uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0, efer = 0;
  std::array<uint64_t, 8> dr{};  // 4 and 5 unused
  uint64_t star = 0, lstar = 0, cstar = 0, fmask = 0, kernel_gs_base = 0, tsc_aux = 0;
  uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  // x87, MMX, SSE state in the 64-bit FXSAVE layout (SDM volume 1, table 10-2).
  alignas(16) std::array<std::byte, 512> fxsave{};

  bool operator==(const Registers&) const = default;
  unsigned cpl() const { return (segment[kSs].attributes >> segment_attribute::kDplShift) & 3; }
};

// The state after RESET (SDM volume 3, table 9-1): real mode, CS:IP = f000:fff0.
Registers ResetState();
// The state that a start-up IPI with this vector leaves (SDM volume 3, section 8.4): CS = vector <<
// 8, IP = 0.
Registers StartupState(uint8_t sipi_vector);

}  // namespace trapline::x86

// SPDX-License-Identifier: Apache-2.0
// The register state after RESET and after a start-up IPI.
#include "core/x86/registers.h"

#include "core/x86/flags.h"

namespace trapline::x86 {
namespace {

constexpr uint16_t kRealModeData = 0x93;  // present, data, writable, accessed
constexpr uint16_t kRealModeCode = 0x9b;  // present, code, readable, accessed
constexpr uint16_t kLdt = 0x82;
constexpr uint16_t kBusyTss = 0x8b;
constexpr uint32_t kRealModeLimit = 0xffff;

}  // namespace

Registers ResetState() {
  Registers r;
  r.rip = 0xfff0;
  r.rflags = rflags::kReserved1;
  for (Segment& s : r.segment) s = {0, kRealModeData, kRealModeLimit, 0};
  r.segment[kCs] = {0xf000, kRealModeCode, kRealModeLimit, 0xffff0000};
  r.ldtr = {0, kLdt, kRealModeLimit, 0};
  r.tr = {0, kBusyTss, kRealModeLimit, 0};
  r.gdtr = r.idtr = {0, 0xffff};
  r.cr0 = cr0::kEt | cr0::kNw | cr0::kCd;
  r.dr[6] = 0xffff0ff0;
  r.dr[7] = 0x400;
  r.fxsave[0] = std::byte{0x7f};  // FCW = 0x037f
  r.fxsave[1] = std::byte{0x03};
  r.fxsave[24] = std::byte{0x80};  // MXCSR = 0x1f80
  r.fxsave[25] = std::byte{0x1f};
  r.fxsave[28] = std::byte{0xff};  // MXCSR_MASK = 0xffff
  r.fxsave[29] = std::byte{0xff};
  return r;
}

Registers StartupState(uint8_t sipi_vector) {
  Registers r = ResetState();
  r.rip = 0;
  r.segment[kCs].selector = static_cast<uint16_t>(sipi_vector << 8);
  r.segment[kCs].base = static_cast<uint64_t>(sipi_vector) << 12;
  return r;
}

}  // namespace trapline::x86

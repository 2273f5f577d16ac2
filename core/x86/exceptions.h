// SPDX-License-Identifier: Apache-2.0
// Exception vectors and the page-fault error code (Intel SDM volume 3, sections 6.3.1 and 4.7).
#pragma once

#include <cstdint>

namespace trapline::x86 {

enum class Vector : uint8_t {
  kDivideError = 0,
  kDebug = 1,
  kNmi = 2,
  kBreakpoint = 3,
  kOverflow = 4,
  kBoundRange = 5,
  kInvalidOpcode = 6,
  kDeviceNotAvailable = 7,
  kDoubleFault = 8,
  kInvalidTss = 10,
  kSegmentNotPresent = 11,
  kStackFault = 12,
  kGeneralProtection = 13,
  kPageFault = 14,
  kX87Error = 16,
  kAlignmentCheck = 17,
  kMachineCheck = 18,
  kSimdError = 19,
};

// True for the exceptions that push an error code.
constexpr bool HasErrorCode(Vector vector) {
  switch (vector) {
    case Vector::kDoubleFault:
    case Vector::kInvalidTss:
    case Vector::kSegmentNotPresent:
    case Vector::kStackFault:
    case Vector::kGeneralProtection:
    case Vector::kPageFault:
    case Vector::kAlignmentCheck:
      return true;
    default:
      return false;
  }
}

namespace page_fault {
constexpr uint32_t kPresent = 1u << 0;
constexpr uint32_t kWrite = 1u << 1;
constexpr uint32_t kUser = 1u << 2;
constexpr uint32_t kReserved = 1u << 3;
constexpr uint32_t kFetch = 1u << 4;
}  // namespace page_fault

}  // namespace trapline::x86

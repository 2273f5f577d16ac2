// SPDX-License-Identifier: Apache-2.0
// RFLAGS and the control-register bits (Intel SDM volume 3, sections 2.3 and 2.5; MSRs: volume 4).
#pragma once

#include <cstdint>

namespace trapline::x86 {

namespace rflags {
constexpr uint64_t kCf = 1u << 0;
constexpr uint64_t kReserved1 = 1u << 1;  // always one
constexpr uint64_t kPf = 1u << 2;
constexpr uint64_t kAf = 1u << 4;
constexpr uint64_t kZf = 1u << 6;
constexpr uint64_t kSf = 1u << 7;
constexpr uint64_t kTf = 1u << 8;
constexpr uint64_t kIf = 1u << 9;
constexpr uint64_t kDf = 1u << 10;
constexpr uint64_t kOf = 1u << 11;
constexpr uint64_t kIoplShift = 12;
constexpr uint64_t kIopl = 3u << kIoplShift;
constexpr uint64_t kNt = 1u << 14;
constexpr uint64_t kRf = 1u << 16;
constexpr uint64_t kVm = 1u << 17;
constexpr uint64_t kAc = 1u << 18;
constexpr uint64_t kVif = 1u << 19;
constexpr uint64_t kVip = 1u << 20;
constexpr uint64_t kId = 1u << 21;
constexpr uint64_t kArithmetic = kCf | kPf | kAf | kZf | kSf | kOf;
}  // namespace rflags

namespace cr0 {
constexpr uint64_t kPe = 1u << 0;
constexpr uint64_t kMp = 1u << 1;
constexpr uint64_t kEm = 1u << 2;
constexpr uint64_t kTs = 1u << 3;
constexpr uint64_t kEt = 1u << 4;
constexpr uint64_t kNe = 1u << 5;
constexpr uint64_t kWp = 1u << 16;
constexpr uint64_t kAm = 1u << 18;
constexpr uint64_t kNw = 1u << 29;
constexpr uint64_t kCd = 1u << 30;
constexpr uint64_t kPg = 1u << 31;
}  // namespace cr0

namespace cr4 {
constexpr uint64_t kVme = 1u << 0;
constexpr uint64_t kPvi = 1u << 1;
constexpr uint64_t kTsd = 1u << 2;
constexpr uint64_t kDe = 1u << 3;
constexpr uint64_t kPse = 1u << 4;
constexpr uint64_t kPae = 1u << 5;
constexpr uint64_t kMce = 1u << 6;
constexpr uint64_t kPge = 1u << 7;
constexpr uint64_t kPce = 1u << 8;
constexpr uint64_t kOsfxsr = 1u << 9;
constexpr uint64_t kOsxmmexcpt = 1u << 10;
constexpr uint64_t kUmip = 1u << 11;
constexpr uint64_t kFsgsbase = 1u << 16;
constexpr uint64_t kPcide = 1u << 17;
constexpr uint64_t kOsxsave = 1u << 18;
constexpr uint64_t kSmep = 1u << 20;
constexpr uint64_t kSmap = 1u << 21;
}  // namespace cr4

namespace efer {
constexpr uint64_t kSce = 1u << 0;
constexpr uint64_t kLme = 1u << 8;
constexpr uint64_t kLma = 1u << 10;
constexpr uint64_t kNxe = 1u << 11;
}  // namespace efer

}  // namespace trapline::x86

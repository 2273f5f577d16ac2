// SPDX-License-Identifier: Apache-2.0
// Page sizes and paging-structure entry bits (Intel SDM volume 3, chapter 4).
#pragma once

#include <cstdint>

namespace trapline::x86 {

constexpr uint64_t kPageShift = 12;
constexpr uint64_t kPageSize = uint64_t{1} << kPageShift;
constexpr uint64_t kPageMask = kPageSize - 1;  // the offset within a page

// True if bits 63 to 47 of a linear address are all the same (SDM volume 1, section 3.3.7.1).
constexpr bool Canonical(uint64_t linear) {
  return static_cast<uint64_t>(static_cast<int64_t>(linear << 16) >> 16) == linear;
}

namespace pte {
constexpr uint64_t kPresent = 1u << 0;
constexpr uint64_t kWritable = 1u << 1;
constexpr uint64_t kUser = 1u << 2;
constexpr uint64_t kWriteThrough = 1u << 3;
constexpr uint64_t kCacheDisable = 1u << 4;
constexpr uint64_t kAccessed = 1u << 5;
constexpr uint64_t kDirty = 1u << 6;
constexpr uint64_t kPageSizeBit = 1u << 7;
constexpr uint64_t kGlobal = 1u << 8;
constexpr uint64_t kNoExecute = uint64_t{1} << 63;
}  // namespace pte

}  // namespace trapline::x86

// SPDX-License-Identifier: Apache-2.0
// Cycles of many calls, for quantiles that are right within 2 %.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace trapline::cli {

// Exact below 64; above it each power of two is cut into 32 equal parts.
class CycleHistogram {
 public:
  void Add(uint32_t cycles) { ++buckets_[BucketOf(cycles)]; }
  void Add(const CycleHistogram& other);

  // The middle of the part that holds this share of all (0 to 1); 0 where there are none.
  uint64_t Quantile(double share) const;

 private:
  static constexpr unsigned kPartBits = 5;
  static constexpr size_t kBuckets = (32 - kPartBits + 1) << kPartBits;

  static constexpr unsigned ShiftOf(uint32_t cycles) {
    const auto width = static_cast<unsigned>(std::bit_width(cycles));
    return width <= kPartBits + 1 ? 0 : width - kPartBits - 1;
  }
  static constexpr size_t BucketOf(uint32_t cycles) {
    const unsigned shift = ShiftOf(cycles);
    return (size_t{shift} << kPartBits) + (cycles >> shift);
  }

  std::array<uint64_t, kBuckets> buckets_{};
};

}  // namespace trapline::cli

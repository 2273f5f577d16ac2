// SPDX-License-Identifier: Apache-2.0
// Cycles of many calls, for quantiles.
#include "cli/trace/cycle_histogram.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace trapline::cli {

void CycleHistogram::Add(const CycleHistogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
}

uint64_t CycleHistogram::Quantile(double share) const {
  static_assert(BucketOf(63) == 63 && BucketOf(64) == 64 && BucketOf(UINT32_MAX) == kBuckets - 1);
  const uint64_t all = std::accumulate(buckets_.begin(), buckets_.end(), uint64_t{0});
  if (all == 0) return 0;
  const auto rank =
      std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(share * static_cast<double>(all))));
  size_t bucket = 0;
  for (uint64_t below = buckets_[0]; below < rank && bucket + 1 < kBuckets;)
    below += buckets_[++bucket];
  const size_t parts = size_t{1} << kPartBits;
  if (bucket < 2 * parts) return bucket;
  const unsigned shift = static_cast<unsigned>(bucket >> kPartBits) - 1;
  const uint64_t first = (bucket - (size_t{shift} << kPartBits)) << shift;
  return first + (uint64_t{1} << shift) / 2;
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// The intervals of a display, counted.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace trapline::cli::top {

class Beat {
 public:
  // most: beats until it is over; 0: never.
  Beat(absl::Duration interval, uint64_t most) : interval_(interval), most_(most) {}

  // True once an interval; the first time at once.
  bool Due(absl::Time now) {
    if (now < next_) return false;
    next_ = now + interval_;
    ++beats_;
    return true;
  }
  bool over() const { return most_ != 0 && beats_ >= most_; }
  absl::Time next() const { return next_; }

 private:
  const absl::Duration interval_;
  const uint64_t most_;
  uint64_t beats_ = 0;
  absl::Time next_ = absl::InfinitePast();
};

}  // namespace trapline::cli::top

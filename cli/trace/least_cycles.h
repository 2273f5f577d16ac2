// SPDX-License-Identifier: Apache-2.0
// How long a call has to take to be shown: in cycles, or as a time.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace trapline::cli {

struct LeastCycles {
  uint64_t cycles = 0;
  absl::Duration time = absl::ZeroDuration();  // the same as a time, where that was said

  bool is_time() const { return time > absl::ZeroDuration(); }
  // INVALID_ARGUMENT where it is a time and the frequency is 0, not known.
  absl::StatusOr<uint64_t> At(uint64_t cycles_per_second) const;
};

// "10000", or "5us".
absl::StatusOr<LeastCycles> ParseLeastCycles(absl::string_view text);

}  // namespace trapline::cli

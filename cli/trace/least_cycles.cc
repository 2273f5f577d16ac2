// SPDX-License-Identifier: Apache-2.0
// How long a call has to take to be shown.
#include "cli/trace/least_cycles.h"

#include "absl/strings/str_cat.h"
#include "cli/units.h"

namespace trapline::cli {

absl::StatusOr<uint64_t> LeastCycles::At(uint64_t cycles_per_second) const {
  if (!is_time()) return cycles;
  if (cycles_per_second == 0) {
    return absl::InvalidArgumentError(
        "how many cycles a second has is not known here; say it in cycles");
  }
  const double wanted = absl::ToDoubleSeconds(time) * static_cast<double>(cycles_per_second);
  // More than a record can say: nothing takes so long.
  return wanted >= static_cast<double>(UINT64_MAX) ? UINT64_MAX : static_cast<uint64_t>(wanted);
}

absl::StatusOr<LeastCycles> ParseLeastCycles(absl::string_view text) {
  LeastCycles least;
  if (const absl::StatusOr<uint64_t> cycles = ParseNumber(text); cycles.ok()) {
    least.cycles = *cycles;
  } else if (!absl::ParseDuration(text, &least.time) || least.time <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is neither cycles nor a time; write 10000, 5us or 1ms"));
  }
  return least;
}

}  // namespace trapline::cli

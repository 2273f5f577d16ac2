// SPDX-License-Identifier: Apache-2.0
// Percentiles.
#include "tests/load/latencies.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace trapline {

std::string Latencies::Report() const {
  absl::MutexLock lock(&mutex_);
  std::string report;
  for (auto [what, took] : took_) {
    std::sort(took.begin(), took.end());
    auto at = [&took = took](size_t percent) {
      using Milliseconds = std::chrono::duration<double, std::milli>;
      return Milliseconds(took[(took.size() - 1) * percent / 100]).count();
    };
    absl::StrAppendFormat(
        &report, "%s: %d calls, median %.1f ms, 99th percentile %.1f ms, longest %.1f ms\n", what,
        took.size(), at(50), at(99), at(100));
  }
  return report;
}

}  // namespace trapline

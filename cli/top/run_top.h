// SPDX-License-Identifier: Apache-2.0
// `trapline sites top` as it runs: on a screen, or as lines.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/session.h"
#include "cli/top/listing.h"

namespace trapline::cli::top {

struct TopOptions {
  std::string vm;  // "vms/{vm}"; empty: all
  absl::Duration interval = absl::Seconds(1);
  Listing listing;
  uint64_t rows = 0;   // sites at most; 0: as many as there is room for, or kLines
  uint64_t count = 0;  // updates, then the end; 0: no end
};
constexpr uint64_t kLines = 10;

// Until a key, a signal or the count ends it. The terminal is as before then.
absl::StatusOr<int> RunOnScreen(Session& session, const TopOptions& options);

// The same with a line for each site and interval, or with a JSON document for each interval.
absl::StatusOr<int> RunAsLines(Session& session, const TopOptions& options);

}  // namespace trapline::cli::top

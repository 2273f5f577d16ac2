// SPDX-License-Identifier: Apache-2.0
// So many in a window of time.
#include "daemon/access/refusals.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace trapline::daemon {
namespace {

constexpr absl::Duration kWindow = absl::Seconds(10);
constexpr uint64_t kReportsAtMost = 20;

}  // namespace

void Refusals::Add(const Caller& caller, const std::string& reason) {
  const absl::Time now = absl::Now();
  if (now >= window_end_) {
    if (unreported_ != 0) on_refused_({}, absl::StrCat(unreported_, " more were refused"));
    window_end_ = now + kWindow;
    reported_ = unreported_ = 0;
  }
  if (reported_ < kReportsAtMost) {
    ++reported_;
    on_refused_(caller, reason);
  } else {
    ++unreported_;
  }
}

}  // namespace trapline::daemon

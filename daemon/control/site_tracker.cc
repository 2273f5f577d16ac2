// SPDX-License-Identifier: Apache-2.0
// Looks and revisions.
#include "daemon/control/site_tracker.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"

namespace trapline::daemon {

absl::Status SiteTracker::Look() {
  auto stats = open_();
  if (!stats.ok()) return stats.status();
  if (*stats != stats_) {
    auto revisions = SiteRevisions::Open(path_, (*stats)->start_realtime_ns());
    if (!revisions.ok()) return revisions.status();
    revisions_ = *std::move(revisions);
    stats_ = *std::move(stats);
  }
  sums_ = stats_->Survey(&now_);
  if (auto status = revisions_->Take(now_); !status.ok()) return status;
  looked_ = absl::Now();
  return absl::OkStatus();
}

absl::StatusOr<SiteTracker::View> SiteTracker::Changes(uint64_t life, uint64_t revision,
                                                       absl::Time fresh) {
  absl::MutexLock lock(&mutex_);
  if (looked_ < fresh || !stats_) {
    if (auto status = Look(); !status.ok()) return status;
  }
  return View{stats_, revisions_->life(), revisions_->revision(), sums_,
              revisions_->ChangedSince(life == revisions_->life() ? revision : 0)};
}

std::string SiteTracker::Token(uint64_t life, uint64_t revision) {
  return absl::StrCat(absl::Hex(life), "-", absl::Hex(revision));
}

absl::StatusOr<bool> SiteTracker::Parse(absl::string_view token, uint64_t* life,
                                        uint64_t* revision) {
  std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(token, '-');
  absl::MutexLock lock(&mutex_);
  if (auto status = Look(); !status.ok()) return status;
  return absl::SimpleHexAtoi(parts.first, life) && absl::SimpleHexAtoi(parts.second, revision) &&
         *life == revisions_->life() && *revision <= revisions_->revision();
}

}  // namespace trapline::daemon

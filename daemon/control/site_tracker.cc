// SPDX-License-Identifier: Apache-2.0
// Looks and revisions.
#include "daemon/control/site_tracker.h"

#include "absl/random/random.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"

namespace trapline::daemon {

absl::Status SiteTracker::Look() {
  auto stats = open_();
  if (!stats.ok()) return stats.status();
  if (*stats != stats_) {
    stats_ = *std::move(stats);
    life_ = absl::Uniform<uint64_t>(absl::BitGen(), 1, ~uint64_t{0});
    revision_ = 0;
    known_.clear();
    changed_in_.clear();
  }
  sums_ = stats_->Survey(&now_);
  bool changed = revision_ == 0;
  known_.resize(now_.size());
  changed_in_.resize(now_.size());
  for (size_t i = 0; i < now_.size(); ++i) {
    if (now_[i] == known_[i]) continue;
    changed_in_[i] = revision_ + 1;
    changed = true;
  }
  if (changed) ++revision_;
  known_.swap(now_);
  looked_ = absl::Now();
  return absl::OkStatus();
}

absl::StatusOr<SiteTracker::View> SiteTracker::Changes(uint64_t life, uint64_t revision,
                                                       absl::Time fresh) {
  absl::MutexLock lock(&mutex_);
  if (looked_ < fresh || !stats_) {
    if (auto status = Look(); !status.ok()) return status;
  }
  View view{stats_, life_, revision_, sums_, {}};
  for (uint32_t i = 0; i < changed_in_.size(); ++i) {
    // Of those that have never been there is nothing to tell.
    if (changed_in_[i] != 0 && (life != life_ || changed_in_[i] > revision))
      view.changed.push_back(i);
  }
  return view;
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
         *life == life_ && *revision <= revision_;
}

}  // namespace trapline::daemon

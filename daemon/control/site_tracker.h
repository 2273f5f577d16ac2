// SPDX-License-Identifier: Apache-2.0
// What changed of a VM's sites, once for all who watch them.
//
// Each look at the counters that finds a site changed makes a revision; what a watcher is to be
// told is the sites that changed since the revision it knows. Those may be asked for later and by
// another connection, or of another daemon: a token names the revision and the life that it is of
// (site_revisions.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/hypercall/stats_reader.h"
#include "daemon/control/site_revisions.h"

namespace trapline::daemon {

// Thread-safe.
class SiteTracker {
 public:
  using Stats = std::shared_ptr<const hypercall::StatsReader>;
  // open: the VM's stats file as it is now. path: where revisions are kept.
  SiteTracker(std::function<absl::StatusOr<Stats>()> open, std::string path)
      : open_(std::move(open)), path_(std::move(path)) {}

  struct View {
    Stats stats;
    uint64_t life = 0;  // of the stats file: revisions of others say nothing here
    uint64_t revision = 0;
    hypercall::SiteSums sums;
    std::vector<uint32_t> changed;  // indices of sites
  };
  // What has changed behind that revision of that life; of another life, every site. Looks at the
  // counters, unless somebody did since `fresh`.
  absl::StatusOr<View> Changes(uint64_t life, uint64_t revision, absl::Time fresh);

  static std::string Token(uint64_t life, uint64_t revision);
  // Whether it is a token of the life that the stats file has now; if so, life and revision are
  // its.
  absl::StatusOr<bool> Parse(absl::string_view token, uint64_t* life, uint64_t* revision);

 private:
  absl::Status Look() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::function<absl::StatusOr<Stats>()> open_;
  const std::string path_;
  absl::Mutex mutex_;
  Stats stats_ ABSL_GUARDED_BY(mutex_);
  absl::Time looked_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  hypercall::SiteSums sums_ ABSL_GUARDED_BY(mutex_);
  std::vector<hypercall::SiteActivity> now_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<SiteRevisions> revisions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::daemon

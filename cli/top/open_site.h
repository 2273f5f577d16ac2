// SPDX-License-Identifier: Apache-2.0
// Keeps one site's detail up to date while its page is open.
//
// One thread asks for the record every interval, and for transitions and code when the site's
// state has changed. Another one reads calls: those on record when the page opens, and more for as
// long as they are followed. To follow is asked for by a key and not done by itself, since a VM
// that is traced calls at a higher price, which would falsify what the page shows.
#pragma once

#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "cli/top/call_scope.h"
#include "cli/top/shared_model.h"
#include "cli/top/site_detail.h"

namespace trapline::cli::top {

class OpenSite {
 public:
  // Wakes `model` when there is news.
  OpenSite(Session& session, SharedModel& model, SiteKey key, absl::Duration interval);
  ~OpenSite();
  OpenSite(const OpenSite&) = delete;
  OpenSite& operator=(const OpenSite&) = delete;

  SiteDetail detail() const;
  // Begins to follow the site's calls, or ends it.
  void ToggleTrace();

 private:
  void KeepRecord();
  void AskForRecord();
  void AskForTransitions();
  void AskForCode();
  void StartCalls(bool follow);
  void ReadCalls(CallScope& scope, bool follow);
  void TakeCalls(const v1::StreamHypercallsResponse& response);
  template <typename Change>
  void Update(Change change);

  Session& session_;
  SharedModel& model_;
  const SiteKey key_;
  const absl::Duration interval_;
  CallScope scope_;
  mutable absl::Mutex mutex_;
  SiteDetail detail_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<CallScope> calls_scope_;  // of the stream that calls_ reads
  std::thread calls_;
  std::thread record_;
};

}  // namespace trapline::cli::top

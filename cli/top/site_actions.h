// SPDX-License-Identifier: Apache-2.0
// What is done to a site at a key, on a thread of its own, so that the screen goes on meanwhile.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "cli/top/call_scope.h"
#include "cli/top/shared_model.h"
#include "cli/top/view.h"

namespace trapline::cli::top {

class SiteActions {
 public:
  struct Answer {
    std::string text;
    bool bad = false;
  };

  // Wakes `model` when there is an answer.
  SiteActions(Session& session, SharedModel& model);
  // Gives up what is under way.
  ~SiteActions();
  SiteActions(const SiteActions&) = delete;
  SiteActions& operator=(const SiteActions&) = delete;

  // kPin, kPatch, kInherit or kRevert; done in the order in which they come.
  void Do(Request request);
  // The latest answer, once.
  std::optional<Answer> TakeAnswer();

 private:
  void Run();
  // False at the end.
  bool Next(Request& request);
  Answer Perform(const Request& request);
  absl::StatusOr<std::string> SetPolicy(const Request& request);
  absl::StatusOr<std::string> Revert(const SiteKey& site);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return ending_ || !requests_.empty();
  }

  SharedModel& model_;
  CallScope scope_;
  absl::Mutex mutex_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Request> requests_ ABSL_GUARDED_BY(mutex_);
  std::optional<Answer> answer_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace trapline::cli::top

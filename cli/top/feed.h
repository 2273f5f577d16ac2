// SPDX-License-Identifier: Apache-2.0
// What keeps the model up to date: a watch of the VMs there are, and one of each VM's sites.
//
// Each is a thread that reads a stream. A stream that breaks is opened again, behind what was read
// of it where the daemon still can, until its scope is cancelled; meanwhile the model has the
// trouble. The roster's thread starts the others, and ends that of a VM that has gone.
//
// The roster is opened first and listed then, so that no VM is missed: a watch's headers say that
// it stands.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "cli/top/call_scope.h"
#include "cli/top/shared_model.h"

namespace trapline::cli::top {

class Feed {
 public:
  // vm: "vms/{vm}", or empty for all.
  Feed(Session& session, SharedModel& model, std::string vm, absl::Duration interval);
  // Ends the streams.
  ~Feed();
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  // Not OK: there will be no more, since the command's time has passed.
  absl::Status status() const;

 private:
  // The watch of one VM's sites.
  struct Watcher {
    explicit Watcher(Session& session) : scope(session) {}

    CallScope scope;
    std::thread thread;
  };

  void FollowRoster();
  absl::Status ReadRoster();
  absl::Status ListVms();
  absl::Status TakeEvent(const v1::VmEvent& event);
  absl::Status AddVm(const std::string& name);
  void RemoveVm(const std::string& id);
  void StartWatcher(const std::string& id);
  void StopWatcher(const std::string& id);
  void Watch(CallScope& scope, const std::string& id);
  absl::Status ReadSites(CallScope& scope, const std::string& id, std::string& resume_token);
  // False where there is no point in another try.
  bool WaitForRetry(CallScope& scope, const absl::Status& status, absl::Duration& delay);

  SharedModel& model_;
  const std::string vm_;
  const absl::Duration interval_;
  CallScope scope_;  // of the roster
  mutable absl::Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  // By the VM's id; the roster's thread's own.
  std::map<std::string, std::unique_ptr<Watcher>> watchers_;
  std::thread roster_;
};

}  // namespace trapline::cli::top

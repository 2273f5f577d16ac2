// SPDX-License-Identifier: Apache-2.0
// What happens is written down before it is told.
//
// Changes and events come from all threads and go to the store in batches: who comes while a batch
// is being written is in the next one, so that many VMs share the wait for the disk. Two kinds:
//   Commit  what somebody asks for: where it cannot be written it does not take place.
//   Note    what has happened anyway: where it cannot be written (a full disk) it is told all the
//           same, is owed to the store, and is written with the next batch that can be, or when it
//           is tried again, once a second.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "daemon/control/delay_queue.h"
#include "daemon/control/event_hub.h"
#include "daemon/control/store.h"

namespace trapline::daemon {

// Thread-safe.
class Journal {
 public:
  // The queue ends before the journal does.
  Journal(std::unique_ptr<Store> store, EventHub& hub, DelayQueue& later)
      : store_(std::move(store)), hub_(hub), later_(later) {}

  // Hands the hub the events of the past; the VMs that there are. Once, before anything else.
  absl::StatusOr<StoredRecords> Load();
  // RESOURCE_EXHAUSTED, UNAVAILABLE: nothing was changed. Numbers the events and stamps their time;
  // before_told runs between.
  absl::Status Commit(StoreChange change, std::function<void()> before_told = {});
  void Note(StoreChange change);

 private:
  struct Entry {
    StoreChange change;
    bool must;
    std::function<void()> before_told;
    absl::Status status{};
    bool done = false;
  };
  absl::Status Submit(Entry entry);
  void Write(const std::vector<Entry*>& batch);
  void WriteAgain();

  const std::unique_ptr<Store> store_;
  EventHub& hub_;
  DelayQueue& later_;
  // The one who writes: it alone uses the store and what follows.
  StoreChange owed_;
  uint64_t last_ = 0;
  absl::Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Entry*> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::daemon

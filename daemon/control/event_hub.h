// SPDX-License-Identifier: Apache-2.0
// The events of all VMs, numbered, for any number of watchers.
//
// There is one ring for all. A watcher only keeps its place in it, so a slow one costs nobody
// anything: where it has fallen out of the ring, the numbers tell how many events it missed.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::daemon {

// Thread-safe.
class EventHub {
 public:
  static constexpr size_t kCapacity = 8192;

  EventHub();

  // Numbers the event, stamps its time, and wakes the watchers.
  void Publish(v1::VmEvent event);
  // The number of the newest event.
  uint64_t Last() const;
  // How many there were of each kind, indexed by it.
  std::vector<uint64_t> PublishedByKind() const;
  // Events behind *place for which wanted holds, waiting up to timeout for the first. Moves *place
  // behind all that were looked at. *missed grows by those that were gone already.
  std::vector<v1::VmEvent> Next(uint64_t* place,
                                const std::function<bool(const v1::VmEvent&)>& wanted,
                                absl::Duration timeout, uint64_t* missed);

  // A place as a token and back. OUT_OF_RANGE: of another daemon's life, or too long ago;
  // INVALID_ARGUMENT: no token at all.
  std::string Token(uint64_t place) const;
  absl::StatusOr<uint64_t> Place(const std::string& token) const;

 private:
  const std::string epoch_;
  mutable absl::Mutex mutex_;
  std::deque<v1::VmEvent> events_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<uint64_t> by_kind_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::daemon

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

  // Goes on from what an earlier daemon kept; epoch tells its events from those of others. Before
  // anything is published.
  void Restore(const std::string& epoch, std::vector<v1::VmEvent> past);
  // Has this called whenever there may be news for watchers, on the thread that publishes them.
  void OnNews(std::function<void()> on_news);
  // Numbers go on from the last. kept: they, and all before them, outlive this daemon.
  void Publish(const std::vector<v1::VmEvent>& events, bool kept);
  // As if there were news: what watchers look at besides has changed.
  void Nudge();
  // The number of the newest event.
  uint64_t Last() const;
  // How many this daemon published of each kind, indexed by it.
  std::vector<uint64_t> PublishedByKind() const;
  // At most so many events behind *place for which wanted holds. Moves *place behind all that were
  // looked at. *missed grows by those that were gone already.
  std::vector<v1::VmEvent> Next(uint64_t* place,
                                const std::function<bool(const v1::VmEvent&)>& wanted, size_t most,
                                uint64_t* missed) const;

  // A place as a token and back. OUT_OF_RANGE: of other events than these, or too long ago;
  // INVALID_ARGUMENT: no token at all.
  std::string Token(uint64_t place) const;
  absl::StatusOr<uint64_t> Place(const std::string& token) const;

 private:
  // Of places behind which all is kept, and of those that are gone with this daemon: the next one
  // may give their numbers to other events.
  std::string epoch_ ABSL_GUARDED_BY(mutex_);
  const std::string passing_epoch_;
  mutable absl::Mutex mutex_;
  std::deque<v1::VmEvent> events_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0, kept_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<uint64_t> by_kind_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> on_news_ ABSL_GUARDED_BY(mutex_) = [] {};
};

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// The reader's side of the stats file: for the daemon, and for whoever looks at a VM that is gone.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/mapped_file.h"
#include "core/hypercall/site.h"
#include "core/hypercall/stats_layout.h"

namespace trapline::hypercall {

// One traced hypercall.
struct TraceEvent {
  uint64_t time_ns = 0, gva = 0;  // gva of zero: as the site's
  uint64_t number = 0;
  uint64_t args[4] = {};
  uint64_t result = 0;
  uint32_t vcpu = 0, site = 0, cycles = 0;
  Path path = Path::kTrap;
  uint8_t cpl = 0;
};

// One change of a site's state, as it was written down.
struct SiteTransition {
  uint64_t sequence = 0;  // from 1
  uint64_t time_ns = 0;   // guest time
  uint32_t site = 0;
  uint32_t vcpu = kNoVcpu;
  SiteState from = SiteState::kNone, to = SiteState::kNone;
  Reason reason = Reason::kNone;
  Policy policy;  // in force
};

// Enough of a site to know whether anything about it has changed.
struct SiteActivity {
  uint32_t sequence = 0;  // of its record
  uint64_t calls = 0;
  bool operator==(const SiteActivity&) const = default;
};

// What sites are told apart by.
struct SiteKey {
  uint64_t gpa;
  uint32_t index;
  SiteState state;
};

// Sums over all sites.
struct SiteSums {
  uint64_t sites = 0;
  std::array<uint64_t, kSiteStates> by_state{};
  std::array<uint64_t, kPathCount> calls{}, cycles{};  // by path, as in SiteView
  uint64_t transitions = 0, patches = 0, reverts = 0;  // as in StatsHeader
};

// Reads a file that its writer may be changing, may have left half written, or may have filled with
// nonsense: nothing in it is believed unchecked. Thread-safe.
class StatsReader {
 public:
  // NOT_FOUND: no such file. DATA_LOSS: what is wrong with it.
  static absl::StatusOr<std::unique_ptr<StatsReader>> Open(const std::string& path);

  uint32_t vcpus() const { return vcpus_; }
  uint64_t start_realtime_ns() const { return header().start_realtime_ns; }
  uint64_t tsc_frequency() const { return tsc_frequency_; }  // cycles a second
  // Times that the VM was started anew.
  uint32_t boots() const { return header().boots.load(std::memory_order_acquire); }
  std::vector<SiteView> Sites() const;
  // NOT_FOUND: no such site.
  absl::StatusOr<SiteView> Site(uint32_t index) const;
  // The same without what was counted, for who looks at many and shows few.
  absl::StatusOr<SiteView> Record(uint32_t index) const;
  // Sites have indices below this.
  uint32_t site_count() const;
  // All sites, in the order of their indices.
  std::vector<SiteKey> Keys() const;
  // One look over all counters. activity, where it is not null, becomes that of each site.
  SiteSums Survey(std::vector<SiteActivity>* activity) const;
  // At most limit transitions behind that one, oldest first. *lost becomes the number of those that
  // there were and are no more.
  std::vector<SiteTransition> Transitions(uint64_t after, size_t limit, uint64_t* lost) const;

  // Where a reader of the trace stands.
  struct Cursor {
    std::vector<uint64_t> read;  // records of each vCPU's ring
    uint64_t unrecorded = 0;     // calls that had left no record when it began
    uint64_t overwritten = 0;    // records that were gone before they could be read
  };
  // Behind the newest record. Calls that are made meanwhile may be on either side.
  Cursor End() const;
  // At most limit events behind the cursor, oldest first for each vCPU; moves it.
  std::vector<TraceEvent> ReadTrace(Cursor* cursor, size_t limit) const;
  // How many calls since the cursor's beginning ReadTrace has not shown and will not show. Exact
  // when no vCPU calls; else a few may be missing that are being made. As much work as Survey.
  uint64_t Dropped(const Cursor& cursor) const;
  // The newest calls on record, at most limit, in the order of time: traced ones, and those that
  // are recorded though nobody traces.
  std::vector<TraceEvent> OnRecord(size_t limit) const;

 private:
  StatsReader() = default;
  template <typename T>
  const T* At(uint64_t offset) const {
    return reinterpret_cast<const T*>(file_->data() + offset);
  }
  const StatsHeader& header() const { return *At<StatsHeader>(0); }
  const SiteCounters& counters(uint32_t vcpu, uint32_t index) const;
  bool ReadSite(uint32_t index, SiteView* view) const;
  void AddCounters(uint32_t index, SiteView* view) const;
  const CallLog& log(uint32_t vcpu) const { return At<CallLog>(logs_offset_)[vcpu]; }
  const TraceRing& ring(uint32_t vcpu) const { return At<TraceRing>(rings_offset_)[vcpu]; }
  bool ReadCall(const TraceRecord& record, uint64_t position, TraceEvent* event) const;
  template <uint32_t kCapacity>
  void ReadNewest(uint32_t vcpu, uint64_t written, const TraceRecord (&records)[kCapacity],
                  size_t limit, std::vector<TraceEvent>* events) const;
  uint64_t CallsEver() const;  // whatever became of their counters

  std::unique_ptr<base::MappedFile> file_;
  uint32_t vcpus_ = 0;
  uint64_t tsc_frequency_ = 1;
  uint64_t sites_offset_ = 0, transitions_offset_ = 0, counters_offset_ = 0, logs_offset_ = 0,
           rings_offset_ = 0;
};

}  // namespace trapline::hypercall

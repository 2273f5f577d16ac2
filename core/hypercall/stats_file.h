// SPDX-License-Identifier: Apache-2.0
// The writer's side of the stats file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/mapped_file.h"
#include "core/base/unique_fd.h"
#include "core/hypercall/stats_layout.h"

namespace trapline::hypercall {

// Thread-safe as the layout says: one writer for each part.
class StatsFile {
 public:
  // Makes the file anew; an empty path: one without a name. UNAVAILABLE with the reason where that
  // fails.
  static absl::StatusOr<std::unique_ptr<StatsFile>> Create(const std::string& path, uint32_t vcpus);

  // The file is sparse and its file system may be full: before a site or the rings are first used,
  // their place is to be had. RESOURCE_EXHAUSTED where there is none. One caller at a time.
  absl::Status ReserveSite(uint32_t index);        // below kMaxSites, and all sites below it
  absl::Status ReserveTransition(uint32_t place);  // below kTransitionCapacity, and all below it
  absl::Status ReserveRings();

  StatsHeader& header() { return *reinterpret_cast<StatsHeader*>(file_->data()); }
  SiteRecord& site(uint32_t index) { return sites_[index]; }
  SiteCounters& counters(uint32_t vcpu, uint32_t index) {
    return counters_[static_cast<uint64_t>(vcpu) * kMaxSites + index];
  }
  TransitionRecord& transition(uint32_t place) { return transitions_[place]; }
  CallLog& log(uint32_t vcpu) { return logs_[vcpu]; }
  TraceRing& ring(uint32_t vcpu) { return rings_[vcpu]; }
  int fd() const { return fd_.get(); }

 private:
  StatsFile() = default;
  absl::Status Reserve(const void* start, uint64_t size);
  absl::Status ReserveSites(uint32_t end);  // those that are not yet, up to but without end

  base::UniqueFd fd_;
  std::string path_;
  std::unique_ptr<base::MappedFile> file_;
  SiteRecord* sites_ = nullptr;
  TransitionRecord* transitions_ = nullptr;
  SiteCounters* counters_ = nullptr;
  CallLog* logs_ = nullptr;
  TraceRing* rings_ = nullptr;
  uint32_t reserved_sites_ = 0;
};

// Where the parts lie for that many vCPUs.
struct StatsOffsets {
  uint64_t sites, transitions, counters, logs, rings, size;
};
StatsOffsets OffsetsFor(uint32_t vcpus);

}  // namespace trapline::hypercall

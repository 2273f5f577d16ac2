// SPDX-License-Identifier: Apache-2.0
// The reader's side of the stats file: for the daemon, and for whoever looks at a VM that is gone.
#pragma once

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
  uint64_t time_ns = 0, gva = 0, gpa = 0;
  uint64_t number = 0;
  uint64_t args[4] = {};
  uint64_t result = 0;
  uint32_t vcpu = 0, site = 0, cycles = 0;
  Path path = Path::kTrap;
  uint8_t cpl = 0;
};

// Reads a file that its writer may be changing, may have left half written, or may have filled with
// nonsense: nothing in it is believed unchecked. Thread-safe.
class StatsReader {
 public:
  // NOT_FOUND: no such file. DATA_LOSS: what is wrong with it.
  static absl::StatusOr<std::unique_ptr<StatsReader>> Open(const std::string& path);

  uint32_t vcpus() const { return vcpus_; }
  uint64_t start_realtime_ns() const { return header().start_realtime_ns; }
  // Rises with every transition.
  uint32_t generation() const { return header().generation.load(std::memory_order_acquire); }
  std::vector<SiteView> Sites() const;
  absl::StatusOr<SiteView> Site(uint32_t index) const;

  // Where a reader of the trace stands: records read, and skips known, of each vCPU's ring.
  struct Cursor {
    std::vector<uint64_t> read, skipped;
  };
  // Behind the newest record.
  Cursor End() const;
  // At most limit events behind the cursor, oldest first for each vCPU; moves it. *dropped grows by
  // exactly as many calls as were not recorded or were overwritten before they could be read.
  std::vector<TraceEvent> ReadTrace(Cursor* cursor, size_t limit, uint64_t* dropped) const;

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
  uint32_t site_count() const;
  const TraceRing& ring(uint32_t vcpu) const;

  std::unique_ptr<base::MappedFile> file_;
  uint32_t vcpus_ = 0;
  uint64_t tsc_frequency_ = 1;
  uint64_t sites_offset_ = 0, counters_offset_ = 0, traces_offset_ = 0;
};

}  // namespace trapline::hypercall

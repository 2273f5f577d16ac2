// SPDX-License-Identifier: Apache-2.0
// What is written down of a call: that it was, always; what it cost, for some; all about it, while
// somebody traces.
//
// A linked call takes less time than reading the time stamp counter twice, so only some calls are
// timed: the first in an epoch of the vCPU's (between two interruptions of the guest), which is all
// of those that are rare, and one in kTimedOneIn of a loop's. For the same reason recording has a
// budget (core/engine/call_log.h): while there is none left, calls go by as if nobody traced.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "core/engine/vcpu_host.h"
#include "core/hypercall/services.h"
#include "core/hypercall/stats_file.h"

namespace trapline::hypercall {

// Count, Record and BeginEpoch belong to the vCPU's thread, the rest to any.
class Recorder {
 public:
  explicit Recorder(StatsFile& stats);

  enum class Note { kCounted, kTimed, kTraced };

  // Counts a call that is about to be served, and says what else there is to note of it: with
  // kTimed and kTraced, Record is to be called behind it.
  Note Count(SiteCounters& counters, uint32_t vcpu, uint64_t number, Path path) {
    size_t slot = 0;
    if (counters.number[0].load(std::memory_order_relaxed) != number + 1) [[unlikely]]
      slot = engine::SlotFor(counters, number);
    Shared<uint64_t>& calls = counters.calls[static_cast<size_t>(path)][slot];
    uint64_t before = calls.load(std::memory_order_relaxed);
    Note note = Note::kCounted;
    if (before % engine::kTimedOneIn == 0 || counters.epoch.load(std::memory_order_relaxed) !=
                                                 vcpus_[vcpu].mark.load(std::memory_order_relaxed))
        [[unlikely]]
      note = NoteFor(counters, vcpu, before);
    calls.store(before + 1, std::memory_order_relaxed);
    return note;
  }

  // A call that came in at start and was over at end, in host cycles; now: end in guest ticks.
  struct Times {
    uint64_t start, end, now;
  };
  void Record(Note note, SiteCounters& counters, uint32_t site, const engine::HypercallFrame& frame,
              const Call& call, Path path, const Times& times);

  // The vCPU was interrupted or halted: what comes now is not the loop that went before.
  void BeginEpoch(uint32_t vcpu);

  // RESOURCE_EXHAUSTED where the stats file has no room for the records.
  absl::Status SetTracing(bool on);

  // Zeroes a site's counters for all vCPUs, none of which may execute.
  void Reset(uint32_t site);

 private:
  static constexpr uint64_t kCyclesPerRecord = 80;  // tests/bench/trace.sh
  // No site's epoch: calls are to be recorded.
  static constexpr uint64_t kTracingMark = ~uint64_t{0};

  struct alignas(64) VcpuState {
    // The epoch (sites that were timed in it have nothing to note but a count) or kTracingMark.
    std::atomic<uint64_t> mark{1};
    uint64_t epoch = 1;
    engine::RecordBudget budget{kCyclesPerRecord};
  };

  Note NoteFor(const SiteCounters& counters, uint32_t vcpu, uint64_t before);
  void SetMark(VcpuState& vcpu);

  StatsFile& stats_;
  std::vector<VcpuState> vcpus_;
  std::atomic<bool> tracing_{false};
};

}  // namespace trapline::hypercall

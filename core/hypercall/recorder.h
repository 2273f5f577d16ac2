// SPDX-License-Identifier: Apache-2.0
// What is written down of a call: that it was, always; what it cost, for some; all about it, while
// somebody traces.
//
// A linked call takes less time than reading the time stamp counter twice, so only some calls are
// timed: the first in an epoch of the vCPU's (between two interruptions of the guest), which is all
// of those that are rare, and one in kTimedOneIn of a loop's. For the same reason a guest that does
// nothing but call would be slowed down threefold by recording each call, and no client could take
// so many records. Recording therefore has a budget, a share of the vCPU's time with bursts of half
// a ring. A call that it has no room for is counted in the ring as skipped, so that clients know
// how many they did not see.
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
    calls.store(before + 1, std::memory_order_relaxed);
    if (before % engine::kTimedOneIn != 0) [[likely]] {
      VcpuState& state = vcpus_[vcpu];
      uint64_t mark = state.mark.load(std::memory_order_relaxed);
      if (counters.epoch.load(std::memory_order_relaxed) == mark) [[likely]]
        return Note::kCounted;
      if (mark == kSkippingMark) {
        Skip(state);
        return Note::kCounted;
      }
    }
    return NoteFor(counters, vcpu, before);
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
  static constexpr int64_t kBurst = kTraceCapacity / 2;
  // No site's epoch: calls are to be recorded, and would be if there were a budget.
  static constexpr uint64_t kTracingMark = ~uint64_t{0}, kSkippingMark = ~uint64_t{1};

  struct alignas(64) VcpuState {
    // The epoch (sites that were timed in it have nothing to note but a count) or one of the above.
    std::atomic<uint64_t> mark{1};
    Shared<uint64_t>* skipped = nullptr;  // in the ring
    uint64_t epoch = 1;
    int64_t budget = kBurst;  // records
    uint64_t refilled = 0;    // host cycles
  };

  static void Skip(VcpuState& vcpu) {
    vcpu.skipped->store(vcpu.skipped->load(std::memory_order_relaxed) + 1,
                        std::memory_order_relaxed);
  }
  Note NoteFor(const SiteCounters& counters, uint32_t vcpu, uint64_t before);
  void Refill(VcpuState& vcpu, uint64_t now);
  void SetMark(VcpuState& vcpu, uint64_t while_tracing);

  StatsFile& stats_;
  std::vector<VcpuState> vcpus_;
  std::atomic<bool> tracing_{false};
};

}  // namespace trapline::hypercall

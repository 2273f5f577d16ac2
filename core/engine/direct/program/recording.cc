// SPDX-License-Identifier: Apache-2.0
// What is written down of calls that are answered here: all about them in the vCPU's trace ring,
// while somebody traces and the budget lasts (call_log.h); else one now and then, in its call log.
//
// `record` is what linked calls look at (entry.S): while it is set they come this way, one by one.
// This process clears it when the budget is spent. The VMM sets it when tracing begins, HandOver
// when time has passed; set once too often, it costs a call a look. A call that is timed anyway
// looks whether the budget has grown meanwhile.
#include <atomic>

#include "core/engine/direct/program/process.h"
#include "core/x86/registers.h"

namespace trapline::engine::direct {
namespace {

// What a linked call takes longer if it is recorded: with budget for each, the benchmark guest's
// take 98 to 106 cycles while a client reads, and 6 without.
constexpr uint64_t kCyclesPerRecord = 100;

constinit RecordBudget budget{kCyclesPerRecord};

CallLog& log() { return *reinterpret_cast<CallLog*>(TRAPLINE_CALL_LOG); }
TraceRing& ring() { return *reinterpret_cast<TraceRing*>(TRAPLINE_TRACE_RING); }

uint32_t IndexOf(const SiteCounters& site) {
  return static_cast<uint32_t>(&site - reinterpret_cast<const SiteCounters*>(TRAPLINE_COUNTERS));
}

// Again where tracing began or ended in between, lest what the VMM wrote be lost.
void SetRecord() {
  std::atomic_ref tracing(control().tracing), record(control().record);
  uint32_t seen;
  do {
    seen = tracing.load();
    record.store(seen != 0 && budget.left() ? 1 : 0);
  } while (tracing.load() != seen);
}

}  // namespace

bool BeginRecord(uint64_t now) {
  if (std::atomic_ref(control().tracing).load(std::memory_order_acquire) == 0) return false;
  if (!budget.left()) budget.Refill(now);
  if (!budget.left()) return false;
  BeginTraced(log());
  return true;
}

void Record(bool traced, Path path, const SiteCounters& site, const Frame& frame, uint64_t number,
            uint64_t cycles, uint64_t end) {
  auto note = [&] {
    auto& gpr = frame.gpr;
    return CallNote{end - control().clock_offset,
                    0,
                    number,
                    {gpr[x86::kRbx], gpr[x86::kRcx], gpr[x86::kRdx], gpr[x86::kRsi]},
                    gpr[x86::kRax],
                    cycles,
                    IndexOf(site),
                    path,
                    0};
  };
  if (traced) {
    AppendRecord(log().traced, ring().records, note());
    budget.Spend();
    // A guest that calls no more often than that never finds the budget spent.
    if (!budget.left()) budget.Refill(end);
  } else if (budget.KeepRecent(end)) {
    AppendRecord(log().kept, log().recent, note());
  }
  bool record = std::atomic_ref(control().record).load(std::memory_order_relaxed) != 0;
  bool tracing = std::atomic_ref(control().tracing).load(std::memory_order_acquire) != 0;
  if (record != (tracing && budget.left())) SetRecord();
}

}  // namespace trapline::engine::direct

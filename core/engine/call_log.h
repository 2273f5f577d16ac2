// SPDX-License-Identifier: Apache-2.0
// What is written down of each of one vCPU's calls, and of how many. core/hypercall keeps it in the
// stats file; an engine that serves calls by itself writes in the same place.
//
// While somebody traces, calls go to the vCPU's ring. A guest that does nothing but call would be
// slowed down threefold by that, and no client could take so many records, so recording has a
// budget: a share of the vCPU's time, with bursts of half a ring at most. A guest that calls far
// more often than that is shown in samples of consecutive calls, and a fifth of the share does
// for those. What there is no budget for is not recorded; how many those were follows from the
// counters, which know every call, at no cost to the vCPU. At all times, those calls that are timed
// anyway leave a record in a smaller ring, not too often: so that there is something to read of a
// VM that nobody was tracing when it failed.
//
// A ring has one writer, whoever executes the vCPU. A record's sequence is its position in the
// ring's history plus one, and zero while it is written: a reader copies the record and takes it
// only if the sequence was right before and after.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/engine/site_counters.h"

namespace trapline::engine {

constexpr uint32_t kTraceCapacity = 1 << 15;  // records in a vCPU's ring
constexpr uint32_t kRecentCapacity = 92;      // and in the one that is always written

struct TraceRecord {
  Shared<uint64_t> sequence;
  uint64_t time;  // guest ticks, when the call was over
  uint64_t gva;   // zero: as the site's
  uint64_t number;
  uint64_t args[4];
  uint64_t result;
  uint32_t site;
  uint32_t cycles;
  uint8_t path, cpl;
  uint8_t reserved[6];
};

struct CallLog {
  Shared<uint64_t> traced;     // records ever written to the TraceRing
  Shared<uint64_t> kept;       // and to recent
  Shared<uint64_t> forgotten;  // calls that are in no counter any more, since those were reset
  Shared<uint64_t> begun;      // calls that are traced, each before it is counted (BeginTraced)
  uint64_t reserved[4];
  TraceRecord recent[kRecentCapacity];
  uint8_t padding[32];
};

struct TraceRing {
  TraceRecord records[kTraceCapacity];
};

static_assert(sizeof(TraceRecord) == 88);
static_assert(sizeof(CallLog) % 4096 == 0 && sizeof(TraceRing) % 4096 == 0,
              "a guest process maps its own vCPU's");

// One call, as it is recorded.
struct CallNote {
  uint64_t time, gva, number;
  uint64_t args[4];
  uint64_t result, cycles;
  uint32_t site;
  Path path;
  uint8_t cpl;
};

// Invalid, contents, valid, and only then counted: a reader that overlaps with this sees a number
// that does not fit.
template <uint32_t kCapacity>
inline void AppendRecord(Shared<uint64_t>& count, TraceRecord (&records)[kCapacity],
                         const CallNote& note) {
  uint64_t position = count.load(std::memory_order_relaxed);
  TraceRecord& record = records[position % kCapacity];
  record.sequence.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  record.time = note.time;
  record.gva = note.gva;
  record.number = note.number;
  for (size_t i = 0; i < 4; ++i) record.args[i] = note.args[i];
  record.result = note.result;
  record.site = note.site;
  record.cycles = static_cast<uint32_t>(note.cycles < UINT32_MAX ? note.cycles : UINT32_MAX);
  record.path = static_cast<uint8_t>(note.path);
  record.cpl = note.cpl;
  record.sequence.store(position + 1, std::memory_order_release);
  count.store(position + 1, std::memory_order_release);
}

// A call will be recorded in the TraceRing; it is about to be counted. A reader that looks at the
// counters first and here then never takes it for one that left no record.
inline void BeginTraced(CallLog& log) {
  Bump(log.begun);
  std::atomic_thread_fence(std::memory_order_release);
}

// How many calls may be recorded: belongs to the ring's writer.
class RecordBudget {
 public:
  // cost: cycles that a record takes the writer.
  explicit constexpr RecordBudget(uint64_t cost) : cost_(cost) {}

  bool left() const { return records_ > 0; }
  void Spend() { --records_; }
  // With none left, at the latest when a call reads the clock; now: host cycles. What was earned
  // since the last time is there to be spent, once it is worth leaving the untraced path for.
  void Refill(uint64_t now) {
    uint64_t passed = now - refilled_, each = cost_ * kShareOfTime;
    if (granted_ != 0) {
      flooding_ = passed < granted_ * each / 2;
      granted_ = 0;
    }
    if (flooding_) each *= 5;
    uint64_t earned = passed / each;
    if (earned < kLeast) return;
    granted_ = earned < kBurst ? earned : kBurst;
    records_ = static_cast<int64_t>(granted_);
    refilled_ = now;
  }
  // Whether the last record of the smaller ring is long enough ago; if so, this is the last one.
  bool KeepRecent(uint64_t now) {
    if (now - kept_ < kBetweenRecent) return false;
    kept_ = now;
    return true;
  }

 private:
  static constexpr uint64_t kShareOfTime = 20;
  static constexpr uint64_t kBurst = kTraceCapacity / 4;  // one saved, one earned
  static constexpr uint64_t kLeast = 256;
  static constexpr uint64_t kBetweenRecent = 10'000;  // cycles

  uint64_t cost_;
  int64_t records_ = kBurst;
  uint64_t granted_ = 0;   // at the last refill; zero once they are spent
  bool flooding_ = false;  // those were spent more than twice as fast as they are earned
  uint64_t refilled_ = 0, kept_ = 0;
};

}  // namespace trapline::engine

// SPDX-License-Identifier: Apache-2.0
// What is counted of one vCPU's calls at one hypercall site. core/hypercall keeps these in the
// stats file; an engine that serves calls by itself counts them in the same place.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace trapline::engine {

constexpr size_t kSiteLength = 3;      // bytes of a site
constexpr size_t kNumbersPerSite = 8;  // hypercall numbers told apart at one site
constexpr size_t kHistogramBuckets = 32;

// How a call came in.
enum class Path : uint8_t { kTrap, kInterrupt, kLinked };
constexpr size_t kPathCount = 3;

// One call in so many of a loop's is timed.
constexpr uint64_t kTimedOneIn = 64;

template <typename T>
using Shared = std::atomic<T>;

// One writer: whoever executes the vCPU. calls counts every call, by path and by number. Cycles,
// histogram and times of use are about those calls that were timed.
struct SiteCounters {
  Shared<uint64_t> number[kNumbersPerSite];  // plus one; zero is free
  // The last slot also takes what found no slot.
  Shared<uint64_t> calls[kPathCount][kNumbersPerSite];
  Shared<uint64_t> epoch;  // of the vCPU when a call was last timed; zero: never
  Shared<uint64_t> cycles[kPathCount];
  Shared<uint64_t> timed[kPathCount];  // calls
  Shared<uint64_t> histogram[kPathCount][kHistogramBuckets];
  Shared<uint64_t> first_use, last_use;  // guest ticks; zero: never
};

// Adds to what has one writer: no read-modify-write cycle on the bus.
template <typename T>
void Bump(Shared<T>& counter, T by = 1) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

// The slot of that hypercall number: its own, a free one, or the last.
inline size_t SlotFor(SiteCounters& counters, uint64_t number) {
  for (size_t slot = 0; slot < kNumbersPerSite - 1; ++slot) {
    uint64_t known = counters.number[slot].load(std::memory_order_relaxed);
    if (known == 0) counters.number[slot].store(number + 1, std::memory_order_relaxed);
    if (known == 0 || known == number + 1) return slot;
  }
  counters.number[kNumbersPerSite - 1].store(number + 1, std::memory_order_relaxed);
  return kNumbersPerSite - 1;
}

// Notes a call that took so many host cycles and was over at now, in guest ticks.
inline void TimeCall(SiteCounters& counters, Path path, uint64_t cycles, uint64_t now) {
  auto p = static_cast<size_t>(path);
  size_t bucket = cycles == 0 ? 0 : 63 - static_cast<size_t>(__builtin_clzll(cycles));
  if (bucket >= kHistogramBuckets) bucket = kHistogramBuckets - 1;
  Bump(counters.cycles[p], cycles);
  Bump(counters.timed[p]);
  Bump(counters.histogram[p][bucket]);
  if (counters.first_use.load(std::memory_order_relaxed) == 0)
    counters.first_use.store(now, std::memory_order_relaxed);
  counters.last_use.store(now, std::memory_order_relaxed);
}

static_assert(Shared<uint64_t>::is_always_lock_free && sizeof(Shared<uint64_t>) == 8);

}  // namespace trapline::engine

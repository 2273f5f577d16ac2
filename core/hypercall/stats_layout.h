// SPDX-License-Identifier: Apache-2.0
// The stats file: what a VM's worker writes and anyone may read, during its life and after.
//
//   header | site records | counters of vCPU 0, 1, ... | trace ring of vCPU 0, 1, ...
//
// Little-endian, fixed widths, offsets from the start of the file; the file is sparse. Every field
// has one writer: a counter or ring belongs to whoever executes its vCPU, its thread or its guest
// process, which adds to it with plain stores; a site record changes within Engine::RunExclusive.
// Site records and trace records carry a
// sequence number that is odd, or zero, while they are written: a reader copies the record and
// takes it only if the number was right and the same before and after.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/engine/site_counters.h"

namespace trapline::hypercall {

constexpr uint64_t kStatsMagic = 0x31535441544c5054;  // "TPLTATS1"
constexpr uint32_t kStatsVersion = 3;

using engine::kHistogramBuckets;
using engine::kNumbersPerSite;
using engine::kPathCount;
using engine::kSiteLength;
using engine::Path;
using engine::Shared;
using engine::SiteCounters;

constexpr size_t kSymbolLength = 64;
constexpr uint32_t kMaxSites = 1 << 14;
constexpr uint32_t kTraceCapacity = 1 << 14;  // records in a vCPU's ring

enum class SiteState : uint8_t {
  kNone,
  kTrapping,
  kPatched,
  kLinked,
  kReverted,
  kPinned,
  kRetired,
  kDirect,
  kAmbiguous,
};

// Why a site is in its state.
enum class Reason : uint8_t {
  kNone,
  kFirstTrap,
  kTrapThreshold,
  kCallThreshold,
  kPolicy,
  kRevertedByUser,
  kOverwritten,
  kSpansPages,
  kReappeared,
  kGuestCode,
  kReset,
  // Found at load, not confirmed to be an instruction.
  kUnconfirmed,
  // Cannot be linked, since the jump would have to lead ...
  kJumpOutside,    // out of the address space
  kJumpIntoRam,    // into guest RAM
  kJumpIntoOwn,    // into pages that hold something else of the engine's
  kJumpUnplanned,  // nowhere: the site was not found at load, or there were too many
};

struct StatsHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t vcpus;
  uint32_t max_sites;
  uint32_t trace_capacity;
  uint64_t sites_offset, counters_offset, traces_offset, file_size;
  uint64_t start_realtime_ns;  // CLOCK_REALTIME at guest time zero, as near as can be
  uint64_t tsc_frequency;      // host cycles per second
  Shared<uint32_t> site_count;
  Shared<uint32_t> generation;  // rises with every transition of any site
};

struct SiteRecord {
  Shared<uint32_t> sequence;  // odd while it is being written
  uint8_t state, technique, reason, cpl;
  uint8_t original[kSiteLength], current[kSiteLength];
  uint8_t limit_override;  // Technique, or kNone
  uint8_t reserved;
  uint32_t interrupt_after, linked_after;  // of the override
  uint64_t gva, gpa, transition_ns;
  char symbol[kSymbolLength];
};

struct TraceRecord {
  Shared<uint64_t>
      sequence;   // position in the ring's history, plus one; zero while it is being written
  uint64_t time;  // guest ticks
  uint64_t gva;
  uint64_t number;
  uint64_t args[4];
  uint64_t result;
  uint32_t vcpu;
  uint32_t site;
  uint32_t cycles;
  uint8_t path, cpl;
  uint8_t reserved[2];
};

struct TraceRing {
  Shared<uint64_t> head;     // records ever written
  Shared<uint64_t> skipped;  // calls that were to be recorded and were not (Recorder)
  uint8_t reserved[48];
  TraceRecord records[kTraceCapacity];
};

static_assert(sizeof(SiteRecord) == 112 && sizeof(TraceRecord) == 88);

}  // namespace trapline::hypercall

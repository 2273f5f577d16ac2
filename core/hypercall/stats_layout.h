// SPDX-License-Identifier: Apache-2.0
// The stats file: what a VM's worker writes and anyone may read, during its life and after.
//
//   header | site records | transitions | counters of vCPU 0, 1, ... | call log of vCPU 0, 1, ...
//          | trace ring of vCPU 0, 1, ...
//
// Little-endian, fixed widths, offsets from the start of the file; the file is sparse. Every field
// has one writer: a counter, log or ring belongs to whoever executes its vCPU, its thread or its
// guest process, which adds to it with plain stores; site records and transitions are written
// within Engine::RunExclusive. Records carry a sequence number that is odd, or zero, while they are
// written: a reader copies the record and takes it only if the number was right and the same before
// and after.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/engine/call_log.h"
#include "core/engine/site_counters.h"

namespace trapline::hypercall {

constexpr uint64_t kStatsMagic = 0x31535441544c5054;  // "TPLTATS1"
constexpr uint32_t kStatsVersion = 4;

using engine::CallLog;
using engine::kHistogramBuckets;
using engine::kNumbersPerSite;
using engine::kPathCount;
using engine::kRecentCapacity;
using engine::kSiteLength;
using engine::kTraceCapacity;
using engine::Path;
using engine::Shared;
using engine::SiteCounters;
using engine::TraceRecord;
using engine::TraceRing;

constexpr size_t kSymbolLength = 64;
constexpr uint32_t kMaxSites = 1 << 17;
constexpr uint32_t kTransitionCapacity = 1 << 19;  // the newest so many are there

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

constexpr size_t kSiteStates = static_cast<size_t>(SiteState::kAmbiguous) + 1;

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
  uint32_t transition_capacity;
  uint64_t sites_offset, transitions_offset, counters_offset, logs_offset, rings_offset, file_size;
  uint64_t start_realtime_ns;  // CLOCK_REALTIME at guest time zero, as near as can be
  uint64_t tsc_frequency;      // host cycles per second
  Shared<uint32_t> site_count;
  Shared<uint32_t> transition_room;  // places of the ring of transitions that may be used
  Shared<uint32_t> boots;            // times that the VM started anew
  Shared<uint64_t> transitions;      // ever
  Shared<uint64_t> patches;          // of those, to a further technique
  Shared<uint64_t> reverts;          // back to the original bytes
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

// A site changed its state.
struct TransitionRecord {
  Shared<uint64_t> sequence;  // how many there had been, plus one; zero while it is being written
  uint64_t time_ns;           // guest time
  uint32_t site;
  uint32_t vcpu;  // kNoVcpu: a request from outside, or the VM's own start
  uint8_t from, to, reason;
  uint8_t limit;  // Technique; of the policy in force, like what follows
  uint32_t interrupt_after, linked_after;
  uint32_t reserved;
};

static_assert(sizeof(SiteRecord) == 112 && sizeof(TransitionRecord) == 40);

}  // namespace trapline::hypercall

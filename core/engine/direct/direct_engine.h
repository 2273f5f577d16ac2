// SPDX-License-Identifier: Apache-2.0
// Engine `direct`: guest code runs natively on the real CPU, deprivileged, one process per vCPU.
// README.md beside this file tells how, what it is good for, and where its boundary is.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/engine/direct/probe.h"
#include "core/engine/engine.h"

namespace trapline::engine::direct {

// A segment of the image: [gpa, gpa + size), and what the guest may do there. All other RAM may be
// read and written.
struct ImageSegment {
  uint64_t gpa, size;
  bool writable, executable;
};

struct DirectConfig {
  // RAM and the descriptor it lies in, region after region.
  std::vector<RamRegion> ram;
  int ram_fd = -1;
  std::vector<ImageSegment> segments;  // disjoint, sorted
  std::vector<uint64_t> entries;       // where code is known to start: entry point, functions
  // Where calls are counted and recorded. The counters of vCPU i's sites lie at counters_offset + i
  // * counters_stride, as many as counters_size holds; rows are SiteSpec::index. Its CallLog and
  // its TraceRing are the i-th from logs_offset and rings_offset on; the ring is used while
  // TraceCalls is on. All offsets are multiples of 4 KiB.
  int stats_fd = -1;
  uint64_t counters_offset = 0, counters_stride = 0, counters_size = 0;
  uint64_t logs_offset = 0, rings_offset = 0;
  // What these do in ring 3 here (probe.h). What is not known to trap is armed.
  TrapKind vmcall = TrapKind::kUnknown, vmmcall = TrapKind::kUnknown;
  // What `ud2` and `int $0x1f` cost here, there and back: part of what a call by them is said to
  // take.
  uint64_t trap_cycles = 0, interrupt_cycles = 0;
  uint64_t tsc_frequency = 0;  // Hz
  uint32_t vcpu_count = 1;
  // What vCPUs post to the console. Called on their threads.
  std::function<void(std::string_view)> console;
};

// INVALID_ARGUMENT: this image cannot run natively: why, and what to do. Thread-safe.
absl::Status CheckImage(std::span<const ImageSegment> segments);

// The engine; all descriptors and the memory behind the regions outlive it. INVALID_ARGUMENT as
// CheckImage; RESOURCE_EXHAUSTED where the host has no room; UNAVAILABLE: what it needs and the
// host lacks. Its vCPUs start a process when they first run.
absl::StatusOr<std::unique_ptr<Engine>> CreateDirectEngine(const DirectConfig& config);

}  // namespace trapline::engine::direct

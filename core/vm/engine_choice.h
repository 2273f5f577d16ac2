// SPDX-License-Identifier: Apache-2.0
// Which engine runs an image, and why.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "core/engine/direct/direct_engine.h"
#include "core/engine/direct/probe.h"
#include "core/machine/loader/image.h"
#include "core/vm/vm.h"

namespace trapline::vm {

struct ChosenEngine {
  EngineKind kind;
  std::string reason;  // readable
};

// The image's segments as the engine wants them.
std::vector<engine::direct::ImageSegment> SegmentsOf(const machine::LoadedImage& image);

// What of them the guest may not write, in whole pages.
std::vector<machine::RamRange> ReadOnlyRanges(
    const std::vector<engine::direct::ImageSegment>& segments);

// kAuto: `direct` for an image of our paravirtual ABI where image and host allow it, else `soft`.
// INVALID_ARGUMENT: the engine asked for cannot run this image; UNAVAILABLE: not on this host;
// UNIMPLEMENTED: there is no such engine. probe is called only where its answer matters.
// Thread-safe.
absl::StatusOr<ChosenEngine> ChooseEngine(
    EngineKind wanted, const machine::LoadedImage& image,
    absl::FunctionRef<const engine::direct::HostProbe&()> probe);

}  // namespace trapline::vm

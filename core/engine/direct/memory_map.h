// SPDX-License-Identifier: Apache-2.0
// Guest RAM in a guest process: at its guest-physical addresses, each page with the rights that the
// image's segments give it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "core/engine/direct/direct_engine.h"
#include "core/engine/direct/layout.h"
#include "core/engine/engine.h"

namespace trapline::engine::direct {

// INVALID_ARGUMENT: this image cannot run natively, and why. Segments are disjoint and sorted.
// Thread-safe.
absl::Status CheckSegments(std::span<const ImageSegment> segments);

// The pages of ram, which lies in its descriptor in that order, that a guest process maps: code
// read and executed, what the image has read-only read, all else read and written. Segments have
// passed CheckSegments.
std::vector<Mapping> MapRam(std::span<const RamRegion> ram, std::span<const ImageSegment> segments);

// What lies between those mappings and the engine's own, and is to be unmapped.
std::vector<Gap> GapsBetween(std::span<const Mapping> mappings);

}  // namespace trapline::engine::direct

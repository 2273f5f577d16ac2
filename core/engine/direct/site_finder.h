// SPDX-License-Identifier: Apache-2.0
// Finds the hypercall instructions of an image before it runs, for hosts where they would not trap.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/engine/site_counters.h"

namespace trapline::engine::direct {

// A piece of executable guest memory.
struct TextSpan {
  uint64_t gpa;
  std::span<const std::byte> bytes;
};

struct FoundSite {
  uint64_t gpa;
  std::array<uint8_t, kSiteLength> original;
  // It is an instruction: control flow from the entries leads there, and to no instruction that
  // overlaps it. Otherwise the bytes may be part of another instruction, or data.
  bool confirmed;
  bool five_bytes;  // padded as TRAPLINE_SITE5 is (core/guest/abi.h)
};

// All places in text with the bytes of `vmcall` or `vmmcall`, by address. entries: where code is
// known to start (the image's entry point and functions); those outside text are ignored. text is
// untrusted. Thread-safe.
std::vector<FoundSite> FindSites(std::span<const TextSpan> text, std::span<const uint64_t> entries);

}  // namespace trapline::engine::direct

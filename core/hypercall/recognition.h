// SPDX-License-Identifier: Apache-2.0
// Which instructions can be sites.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/hypercall/stats_layout.h"

namespace trapline::hypercall {

struct SiteKind {
  const char* name;
  std::array<uint8_t, kSiteLength> bytes;  // how it is recognised
};

constexpr SiteKind kSiteKinds[] = {
    {"vmcall", {0x0f, 0x01, 0xc1}},
    {"vmmcall", {0x0f, 0x01, 0xd9}},
};

// The kind whose bytes these are, or null.
inline const SiteKind* KindOf(std::span<const std::byte, kSiteLength> bytes) {
  for (const SiteKind& kind : kSiteKinds) {
    if (std::equal(bytes.begin(), bytes.end(), std::as_bytes(std::span(kind.bytes)).begin()))
      return &kind;
  }
  return nullptr;
}
inline bool IsHypercall(std::span<const std::byte, kSiteLength> bytes) {
  return KindOf(bytes) != nullptr;
}

}  // namespace trapline::hypercall

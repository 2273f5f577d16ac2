// SPDX-License-Identifier: Apache-2.0
// How far a site may go, and how fast.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace trapline::hypercall {

// How a site enters the core (DESIGN: words). In order of cost, dearest first.
enum class Technique : uint8_t { kNone = 0, kEmulate = 1, kInterrupt = 2, kLinked = 3 };
std::string_view TechniqueName(Technique technique);

struct Policy {
  Technique limit = Technique::kLinked;  // the furthest a site may go
  uint32_t interrupt_after = 1;          // traps before it is rewritten, at least 1
  uint32_t linked_after = 16;            // fast calls before it is linked, at least 1
};

}  // namespace trapline::hypercall

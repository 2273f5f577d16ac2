// SPDX-License-Identifier: Apache-2.0
// A site as it is shown: one hypercall instruction in guest memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/hypercall/policy.h"
#include "core/hypercall/stats_layout.h"

namespace trapline::hypercall {

std::string_view SiteStateName(SiteState state);
std::string_view ReasonName(Reason reason);

// One number's calls at a site.
struct NumberCount {
  uint64_t number;
  uint64_t calls;
};

using Histogram = std::array<uint64_t, kHistogramBuckets>;  // bucket i: cycles in [2^i, 2^(i+1))

// A snapshot; counters are sums over all vCPUs.
struct SiteView {
  uint32_t index = 0;
  uint64_t gva = 0, gpa = 0;
  std::string symbol;  // "name+0x12", or empty
  uint8_t cpl = 0;
  std::array<uint8_t, kSiteLength> original{}, current{};
  Technique technique = Technique::kEmulate;
  SiteState state = SiteState::kTrapping;
  Reason reason = Reason::kFirstTrap;
  uint64_t transition_ns = 0;    // guest time of the last transition
  std::optional<Policy> policy;  // where it overrides the VM's
  std::array<uint64_t, kPathCount> calls{};
  std::array<uint64_t, kPathCount> cycles{};  // sums, taken from the calls that were timed to all
  std::array<Histogram, kPathCount> histograms{};  // of the calls that were timed
  std::vector<NumberCount> numbers;
  uint64_t first_use_ns = 0, last_use_ns = 0;

  uint64_t traps() const { return calls[static_cast<size_t>(Path::kTrap)]; }
  uint64_t fast_calls() const {
    return calls[static_cast<size_t>(Path::kInterrupt)] + calls[static_cast<size_t>(Path::kLinked)];
  }
};

// A state transition, as it happens.
struct SiteEvent {
  uint32_t site;
  uint64_t gpa;
  SiteState from, to;
  Reason reason;
  uint32_t vcpu;     // kNoVcpu: somebody from outside
  uint64_t time_ns;  // guest time
};
constexpr uint32_t kNoVcpu = ~0u;

}  // namespace trapline::hypercall

// SPDX-License-Identifier: Apache-2.0
// A site as the core keeps it.
#pragma once

#include "core/hypercall/hypercall_core.h"
#include "core/hypercall/recognition.h"

namespace trapline::hypercall {

// gpa and index never change. state is read by vCPUs at any time and changes within
// Engine::RunExclusive; the rest is guarded by HypercallCore::mutex_, but for contiguous, which
// only ever falls.
struct HypercallCore::Site {
  uint64_t gpa = 0;
  uint32_t index = 0;
  std::atomic<SiteState> state{SiteState::kNone};
  std::atomic<bool> contiguous{true};  // all bytes in one page, whichever way it was reached
  // Since the last transition, as long as their number matters; approximate between vCPUs.
  std::atomic<uint32_t> calls_in_state{0};
  // So many calls in this state are due the next: 0 where none is, so that calls need not ask the
  // policy. Changes with state and policy.
  std::atomic<uint32_t> due_after{0};
  uint64_t gva = 0;
  uint8_t cpl = 0;
  std::array<uint8_t, kSiteLength> original{};
  engine::SiteEntry entry = engine::SiteEntry::kTrap;  // as the engine has it
  std::optional<Policy> policy;
  Reason reason = Reason::kNone;
  uint64_t transition_ns = 0;
  std::string symbol;
  // With what and for which address a symbol was looked up last.
  uint64_t symbols_revision = 0, symbol_gva = 0;

  bool Rewritten() const { return entry != engine::SiteEntry::kTrap; }
  engine::SiteSpec Spec() const {
    // A direct site is the interrupt instruction alone.
    bool direct = state.load(std::memory_order_relaxed) == SiteState::kDirect;
    return {gpa, index, original, static_cast<uint8_t>(direct ? kSiteLength - 1 : kSiteLength)};
  }
};

}  // namespace trapline::hypercall

// SPDX-License-Identifier: Apache-2.0
// Where the jumps of linked sites lead.
//
// A site of five bytes takes a whole jump, to a stub among the near ones. A site of three bytes
// cannot: its jump is punned (E9Patch, PLDI 2020). `e9` and two bytes of the site's, with the two
// bytes behind it as they stand, are a jump whose displacement is free in its lower half alone, so
// that a stub has to be somewhere in a window of 64 KiB. One or two redundant prefixes before the
// `e9` move the fixed bytes along, for a window of 256 bytes or one, elsewhere. A window that lies
// outside the address space, in guest RAM, or among what the engine has elsewhere is not to be had.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "core/engine/direct/site_finder.h"
#include "core/engine/engine.h"

namespace trapline::engine::direct {

constexpr uint64_t kStubSize = 40, kStubCodeSize = 38;

// A jump and where it leads, or why there is none.
struct PlannedJump {
  RewriteResult result = RewriteResult::kJumpUnplanned;
  uint64_t stub = 0;
  std::array<uint8_t, 5> bytes{};  // as many as the site has
};

struct AddressRange {
  uint64_t start, end;
};

// Not thread-safe.
class JumpPlan {
 public:
  // Pages of stubs outside the near ones, at most; each is a mapping of every guest process.
  static constexpr size_t kMaxPages = 1024;

  // ram: where guest RAM is, gaps that only the engine knows of included.
  explicit JumpPlan(std::vector<AddressRange> ram) : ram_(std::move(ram)) {}

  // Reserves a stub for this site. behind: the guest's bytes from behind the site on, none of which
  // will change.
  PlannedJump Plan(const FoundSite& site, std::span<const std::byte> behind);

  // Addresses of the pages that stubs outside the near ones lie in, in the order they were needed.
  const std::vector<uint64_t>& pages() const { return pages_; }

 private:
  PlannedJump PlanNear(const FoundSite& site);
  PlannedJump PlanPunned(const FoundSite& site, std::span<const std::byte> behind, size_t prefixes);
  RewriteResult CheckPlace(uint64_t stub) const;
  // Where what is taken ends, where a stub here would overlap with it; else 0.
  uint64_t EndOfTaken(uint64_t stub) const;
  void Take(uint64_t start, uint64_t end);
  bool Reserve(uint64_t stub);

  const std::vector<AddressRange> ram_;
  uint64_t next_near_ = 0;
  std::map<uint64_t, uint64_t> taken_;  // by stubs outside, start to end of each run of them
  std::vector<uint64_t> pages_;
};

}  // namespace trapline::engine::direct

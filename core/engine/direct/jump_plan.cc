// SPDX-License-Identifier: Apache-2.0
// Near stubs one after another; punned ones wherever their window has room.
#include "core/engine/direct/jump_plan.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/engine/direct/layout.h"

namespace trapline::engine::direct {
namespace {

constexpr uint8_t kJump = 0xe9, kPrefix = 0x26;  // ES, which 64-bit code ignores
constexpr uint64_t kJumpLength = 5;

uint64_t PageOf(uint64_t address) { return address & ~(kPage - 1); }

}  // namespace

PlannedJump JumpPlan::PlanNear(const FoundSite& site) {
  uint64_t stub = TRAPLINE_NEAR_STUBS + next_near_ * kStubSize;
  if (stub + kStubSize > TRAPLINE_NEAR_END) return {};
  auto displacement = static_cast<int64_t>(stub - (site.gpa + kJumpLength));
  if (displacement < std::numeric_limits<int32_t>::min())
    return {RewriteResult::kJumpOutside, 0, {}};
  ++next_near_;
  PlannedJump jump{RewriteResult::kDone, stub, {kJump}};
  auto word = static_cast<int32_t>(displacement);
  std::memcpy(jump.bytes.data() + 1, &word, sizeof word);
  return jump;
}

RewriteResult JumpPlan::CheckPlace(uint64_t stub) const {
  if (stub < TRAPLINE_RAM_START || stub + kStubSize > TRAPLINE_ADDRESS_END)
    return RewriteResult::kJumpOutside;
  for (const AddressRange& range : ram_) {
    if (PageOf(stub) < range.end && range.start < stub + kStubSize)
      return RewriteResult::kJumpIntoRam;
  }
  if (PageOf(stub) < TRAPLINE_NEAR_END && TRAPLINE_CONTROL < stub + kStubSize)
    return RewriteResult::kJumpIntoOwn;
  return EndOfTaken(stub) == 0 ? RewriteResult::kDone : RewriteResult::kJumpIntoOwn;
}

uint64_t JumpPlan::EndOfTaken(uint64_t stub) const {
  auto next = taken_.lower_bound(stub + kStubSize);
  bool hit = next != taken_.begin() && std::prev(next)->second > stub;
  return hit ? std::prev(next)->second : 0;
}

// Between two stubs that leave no room for a third there is nothing to be had.
void JumpPlan::Take(uint64_t start, uint64_t end) {
  auto next = taken_.lower_bound(start);
  if (next != taken_.end() && next->first < end + kStubSize) {
    end = next->second;
    next = taken_.erase(next);
  }
  if (next != taken_.begin() && std::prev(next)->second + kStubSize > start) {
    std::prev(next)->second = end;
  } else {
    taken_.emplace(start, end);
  }
}

bool JumpPlan::Reserve(uint64_t stub) {
  std::vector<uint64_t> wanted;
  for (uint64_t page : {PageOf(stub), PageOf(stub + kStubSize - 1)}) {
    if (std::find(pages_.begin(), pages_.end(), page) == pages_.end() &&
        std::find(wanted.begin(), wanted.end(), page) == wanted.end())
      wanted.push_back(page);
  }
  if (pages_.size() + wanted.size() > kMaxPages) return false;
  pages_.insert(pages_.end(), wanted.begin(), wanted.end());
  Take(stub, stub + kStubSize);
  return true;
}

PlannedJump JumpPlan::PlanPunned(const FoundSite& site, std::span<const std::byte> behind,
                                 size_t prefixes) {
  PlannedJump jump;
  const size_t free_bytes = kSiteLength - 1 - prefixes;
  const size_t fixed = sizeof(int32_t) - free_bytes;
  if (behind.size() < fixed) return jump;
  uint32_t upper = 0;
  for (size_t i = 0; i < fixed; ++i)
    upper |= std::to_integer<uint32_t>(behind[i]) << (8 * (free_bytes + i));
  // From behind the jump, with the free bytes zero.
  uint64_t base = site.gpa + prefixes + kJumpLength +
                  static_cast<uint64_t>(int64_t{static_cast<int32_t>(upper)});
  const uint64_t window = uint64_t{1} << (8 * free_bytes);
  for (uint64_t lower = 0; lower < window;) {
    jump.result = CheckPlace(base + lower);
    if (jump.result != RewriteResult::kDone) {
      uint64_t end = EndOfTaken(base + lower);
      lower = end != 0 ? end - base : lower + kStubSize;
      continue;
    }
    if (!Reserve(base + lower)) {
      jump.result = RewriteResult::kJumpUnplanned;
      return jump;
    }
    jump.stub = base + lower;
    std::fill_n(jump.bytes.begin(), prefixes, kPrefix);
    jump.bytes[prefixes] = kJump;
    std::memcpy(jump.bytes.data() + prefixes + 1, &lower, free_bytes);
    return jump;
  }
  return jump;
}

PlannedJump JumpPlan::Plan(const FoundSite& site, std::span<const std::byte> behind) {
  if (site.five_bytes) return PlanNear(site);
  PlannedJump first = PlanPunned(site, behind, 0);
  if (first.result == RewriteResult::kDone) return first;
  for (size_t prefixes : {1, 2}) {
    PlannedJump jump = PlanPunned(site, behind, prefixes);
    if (jump.result == RewriteResult::kDone) return jump;
  }
  return first;
}

}  // namespace trapline::engine::direct

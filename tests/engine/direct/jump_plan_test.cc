// SPDX-License-Identifier: Apache-2.0
// Where linked sites' jumps lead: bytes that are decoded again here as a processor would.
#include "core/engine/direct/jump_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <ostream>
#include <set>
#include <vector>

#include "core/engine/direct/layout.h"

namespace trapline::engine::direct {
namespace {

using ::testing::Contains;
using ::testing::SizeIs;

constexpr uint64_t kRamEnd = uint64_t{64} << 20;

FoundSite SiteAt(uint64_t gpa, bool five_bytes = false) {
  return {gpa, {0x0f, 0x01, 0xc1}, true, five_bytes};
}

std::vector<std::byte> Behind(std::initializer_list<uint8_t> bytes) {
  std::vector<std::byte> behind;
  for (uint8_t byte : bytes) behind.push_back(std::byte{byte});
  return behind;
}

// Where a processor goes that finds these bytes at the site and those behind it; 0: no jump.
uint64_t Target(const FoundSite& site, const PlannedJump& jump, std::span<const std::byte> behind) {
  std::vector<uint8_t> code(jump.bytes.begin(), jump.bytes.begin() + (site.five_bytes ? 5 : 3));
  for (std::byte byte : behind) code.push_back(std::to_integer<uint8_t>(byte));
  size_t at = 0;
  while (at < code.size() && code[at] == 0x26) ++at;
  int32_t displacement;
  if (at + 1 + sizeof displacement > code.size() || code[at] != 0xe9) return 0;
  std::memcpy(&displacement, code.data() + at + 1, sizeof displacement);
  return site.gpa + at + 5 + static_cast<uint64_t>(int64_t{displacement});
}

size_t Prefixes(const PlannedJump& jump) {
  return static_cast<size_t>(std::count(jump.bytes.begin(), jump.bytes.begin() + 3, 0x26));
}

TEST(JumpPlan, SitesOfFiveBytesGetNearStubsUntilThereAreNoMore) {
  JumpPlan plan({{0, kRamEnd}});
  std::set<uint64_t> stubs;
  constexpr size_t kRoom = (TRAPLINE_NEAR_END - TRAPLINE_NEAR_STUBS) / kStubSize;
  for (size_t i = 0; i < kRoom; ++i) {
    FoundSite site = SiteAt(0x200000 + 16 * i, true);
    PlannedJump jump = plan.Plan(site, {});
    ASSERT_EQ(jump.result, RewriteResult::kDone);
    ASSERT_EQ(Target(site, jump, {}), jump.stub);
    ASSERT_GE(jump.stub, uint64_t{TRAPLINE_NEAR_STUBS});
    ASSERT_LE(jump.stub + kStubSize, uint64_t{TRAPLINE_NEAR_END});
    stubs.insert(jump.stub);
  }
  EXPECT_EQ(stubs.size(), kRoom);
  for (auto it = std::next(stubs.begin()); it != stubs.end(); ++it)
    ASSERT_GE(*it - *std::prev(it), kStubSize);
  EXPECT_EQ(plan.Plan(SiteAt(0x1000, true), {}).result, RewriteResult::kJumpUnplanned);
  EXPECT_THAT(plan.pages(), SizeIs(0));
}

TEST(JumpPlan, ANearStubMustBeWithinAJump) {
  JumpPlan plan({{0, kRamEnd}});
  EXPECT_EQ(plan.Plan(SiteAt(0xb0000000, true), {}).result, RewriteResult::kJumpOutside);
  EXPECT_EQ(plan.Plan(SiteAt(0x7fff0000, true), {}).result, RewriteResult::kDone);
}

struct Window {
  const char* name;
  std::vector<std::byte> behind;
  uint64_t ram_end;
  RewriteResult result;
  size_t prefixes;
};

void PrintTo(const Window& window, std::ostream* out) { *out << window.name; }

class Windows : public ::testing::TestWithParam<Window> {};

TEST_P(Windows, AreTakenWhereTheyCanBe) {
  const Window& window = GetParam();
  JumpPlan plan({{0, window.ram_end}});
  FoundSite site = SiteAt(0x200000);
  PlannedJump jump = plan.Plan(site, window.behind);
  ASSERT_EQ(jump.result, window.result);
  if (jump.result != RewriteResult::kDone) {
    EXPECT_THAT(plan.pages(), SizeIs(0));
    return;
  }
  EXPECT_EQ(Prefixes(jump), window.prefixes);
  EXPECT_EQ(Target(site, jump, window.behind), jump.stub);
  EXPECT_GE(jump.stub, window.ram_end);
  EXPECT_THAT(plan.pages(), Contains(jump.stub & ~(kPage - 1)));
  EXPECT_THAT(plan.pages(), Contains((jump.stub + kStubSize - 1) & ~(kPage - 1)));
}

constexpr uint64_t kThreeGiB = uint64_t{3} << 30;
INSTANTIATE_TEST_SUITE_P(
    Of, Windows,
    ::testing::Values(
        Window{"Bare", Behind({0x0f, 0x1f}), kRamEnd, RewriteResult::kDone, 0},
        Window{"OnePrefix", Behind({0x90, 0x90, 0x0f}), kRamEnd, RewriteResult::kDone, 1},
        Window{"TwoPrefixes", Behind({0x90, 0x90, 0x90, 0x0f}), kRamEnd, RewriteResult::kDone, 2},
        Window{"BelowZero", Behind({0x90, 0x90, 0x90, 0x90}), kRamEnd, RewriteResult::kJumpOutside,
               0},
        Window{"Ram", Behind({0x0f, 0x1f, 0x0f, 0x1f}), kThreeGiB, RewriteResult::kJumpIntoRam, 0},
        Window{"RamButForAPrefix", Behind({0x00, 0x02, 0x40, 0x00}), kRamEnd, RewriteResult::kDone,
               1},
        // The first is the one that is spoken of.
        Window{"RamAndOutside", Behind({0x00, 0x02, 0x90, 0x90}), kRamEnd,
               RewriteResult::kJumpIntoRam, 0},
        Window{"NothingBehind", {}, kRamEnd, RewriteResult::kJumpUnplanned, 0},
        Window{"OneByteBehind", Behind({0x0f}), kRamEnd, RewriteResult::kJumpUnplanned, 0}),
    [](const auto& info) { return info.param.name; });

TEST(JumpPlan, TheEnginesOwnPagesAreNoWindow) {
  // A guest with so little RAM that it ends below the control page.
  JumpPlan plan({{0, 0x80000}});
  auto behind = Behind({0x0a, 0x00, 0x90, 0x90});
  FoundSite site = SiteAt(0x20000);  // a displacement of 0x0a0000 leads to 0xc0005
  EXPECT_EQ(plan.Plan(site, behind).result, RewriteResult::kJumpIntoOwn);
}

TEST(JumpPlan, AWindowFillsUpAndStubsMayStraddlePages) {
  JumpPlan plan({{0, kRamEnd}});
  constexpr uint64_t kGpa = 0x200ffb;  // so that the window begins with a page
  constexpr size_t kRoom = (0x10000 + kStubSize - 1) / kStubSize;
  auto behind = Behind({0x0f, 0x1f, 0x90, 0x90});
  std::set<uint64_t> stubs;
  for (size_t i = 0; i < kRoom; ++i) {
    PlannedJump jump = plan.Plan(SiteAt(kGpa), behind);
    ASSERT_EQ(jump.result, RewriteResult::kDone) << i;
    ASSERT_EQ(Target(SiteAt(kGpa), jump, behind), jump.stub);
    ASSERT_TRUE(stubs.empty() || jump.stub >= *stubs.rbegin() + kStubSize);
    stubs.insert(jump.stub);
    for (uint64_t byte : {jump.stub, jump.stub + kStubSize - 1})
      ASSERT_THAT(plan.pages(), Contains(byte & ~(kPage - 1)));
  }
  EXPECT_EQ(plan.Plan(SiteAt(kGpa), behind).result, RewriteResult::kJumpIntoOwn);
  EXPECT_EQ(plan.pages().size(), 17u);  // the last stub reaches over the window's end
  EXPECT_EQ(std::set(plan.pages().begin(), plan.pages().end()).size(), 17u);
}

TEST(JumpPlan, PagesAreLimited) {
  JumpPlan plan({{0, kRamEnd}});
  constexpr uint64_t kGpa = 0x200ffb;
  auto behind_of = [](size_t i) {
    uint64_t upper = (kRamEnd >> 16) + i;
    return Behind({static_cast<uint8_t>(upper), static_cast<uint8_t>(upper >> 8), 0x90, 0x90});
  };
  for (size_t i = 0; i < JumpPlan::kMaxPages; ++i)
    ASSERT_EQ(plan.Plan(SiteAt(kGpa), behind_of(i)).result, RewriteResult::kDone) << i;
  EXPECT_EQ(plan.pages().size(), JumpPlan::kMaxPages);
  EXPECT_EQ(plan.Plan(SiteAt(kGpa), behind_of(JumpPlan::kMaxPages)).result,
            RewriteResult::kJumpUnplanned);
  EXPECT_EQ(plan.Plan(SiteAt(kGpa), behind_of(0)).result, RewriteResult::kDone);
  EXPECT_EQ(plan.pages().size(), JumpPlan::kMaxPages);
}

}  // namespace
}  // namespace trapline::engine::direct

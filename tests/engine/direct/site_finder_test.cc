// SPDX-License-Identifier: Apache-2.0
// Which bytes are taken for hypercall instructions, and which are not.
#include "core/engine/direct/site_finder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace trapline::engine::direct {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kText = 0x1000;

std::vector<FoundSite> Find(const std::vector<uint8_t>& code,
                            const std::vector<uint64_t>& entries = {kText}) {
  TextSpan text{kText, std::as_bytes(std::span(code))};
  return FindSites(std::span(&text, 1), entries);
}

// Offsets of those that are confirmed, and of those that are not.
struct Offsets {
  std::vector<uint64_t> confirmed, unclear;
};
Offsets Split(const std::vector<FoundSite>& found) {
  Offsets offsets;
  for (const FoundSite& site : found)
    (site.confirmed ? offsets.confirmed : offsets.unclear).push_back(site.gpa - kText);
  return offsets;
}

TEST(SiteFinder, WhatControlFlowLeadsToIsConfirmed) {
  auto found = Find({0xb8, 0, 0x10, 0, 0, 0x0f, 0x01, 0xc1, 0x0f, 0x01, 0xd9, 0xc3});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].gpa, kText + 5);
  EXPECT_TRUE(found[0].confirmed);
  EXPECT_THAT(found[0].original, ElementsAre(0x0f, 0x01, 0xc1));
  EXPECT_TRUE(found[1].confirmed);
  EXPECT_THAT(found[1].original, ElementsAre(0x0f, 0x01, 0xd9));
}

TEST(SiteFinder, BothWaysOfAConditionalJumpAreFollowed) {
  auto offsets = Split(Find({0x74, 0x04, 0x0f, 0x01, 0xc1, 0xc3, 0x0f, 0x01, 0xc1, 0xc3}));
  EXPECT_THAT(offsets.confirmed, ElementsAre(2, 6));
}

TEST(SiteFinder, CallsAreFollowedAndComeBack) {
  // call +4; vmcall; ret; vmcall; ret
  auto offsets = Split(Find({0xe8, 0x04, 0, 0, 0, 0x0f, 0x01, 0xc1, 0xc3, 0x0f, 0x01, 0xc1, 0xc3}));
  EXPECT_THAT(offsets.confirmed, ElementsAre(5, 9));
}

TEST(SiteFinder, JumpsBackwardsEnd) {
  // vmcall; jmp to itself
  auto offsets = Split(Find({0x0f, 0x01, 0xc1, 0xeb, 0xfb}));
  EXPECT_THAT(offsets.confirmed, ElementsAre(0));
}

TEST(SiteFinder, BehindWhatControlFlowDoesNotPassNothingIsKnown) {
  const std::vector<std::vector<uint8_t>> ends = {
      {0xc3},              // ret
      {0xc2, 0x08, 0x00},  // ret $8
      {0xeb, 0xfe},        // jmp .
      {0xff, 0xe0},        // jmp *%rax
      {0x48, 0xcf},        // iretq
      {0x06},              // no instruction of 64-bit mode
  };
  for (std::vector<uint8_t> code : ends) {
    auto at = code.size();
    code.insert(code.end(), {0x0f, 0x01, 0xc1});
    auto offsets = Split(Find(code));
    EXPECT_THAT(offsets.confirmed, IsEmpty()) << at;
    EXPECT_THAT(offsets.unclear, ElementsAre(at));
  }
}

TEST(SiteFinder, BehindUd2AKernelGoesOn) {
  EXPECT_THAT(Split(Find({0x0f, 0x0b, 0x0f, 0x01, 0xc1})).confirmed, ElementsAre(2));
}

TEST(SiteFinder, AJumpTableInTextIsData) {
  std::vector<uint8_t> code = {0xff, 0x24, 0xc5, 0x07, 0x10, 0, 0,  // jmp *0x1007(,%rax,8)
                               0x20, 0x10, 0,    0,    0,    0, 0,    0,    0x0f, 0x01,
                               0xc1, 0,    0,    0,    0,    0, 0x0f, 0x01, 0xc1, 0xc3};
  auto offsets = Split(Find(code));
  EXPECT_THAT(offsets.confirmed, IsEmpty());
  EXPECT_THAT(offsets.unclear, ElementsAre(15, 23));
  // The code behind the table has a symbol of its own.
  offsets = Split(Find(code, {kText, kText + 23}));
  EXPECT_THAT(offsets.confirmed, ElementsAre(23));
  EXPECT_THAT(offsets.unclear, ElementsAre(15));
}

TEST(SiteFinder, BytesWithinAnotherInstructionAreNone) {
  auto offsets = Split(Find({0xb8, 0x0f, 0x01, 0xc1, 0x90, 0xc3}));  // mov $0x90c1010f, %eax
  EXPECT_THAT(offsets.confirmed, IsEmpty());
  EXPECT_THAT(offsets.unclear, ElementsAre(1));
}

TEST(SiteFinder, WhereTwoWaysOverlapNobodyCanTell) {
  // As above, but somebody jumps to the constant.
  auto offsets = Split(Find({0xb8, 0x0f, 0x01, 0xc1, 0x90, 0xc3}, {kText, kText + 1}));
  EXPECT_THAT(offsets.unclear, ElementsAre(1));
  // Somebody jumps into the middle of it: 01 c1 is an addition.
  offsets = Split(Find({0x0f, 0x01, 0xc1, 0xc3}, {kText, kText + 1}));
  EXPECT_THAT(offsets.unclear, ElementsAre(0));
}

TEST(SiteFinder, APrefixMakesItAnotherInstruction) {
  auto offsets = Split(Find({0x2e, 0x0f, 0x01, 0xc1, 0xc3}));  // a site of three bytes is bare
  EXPECT_THAT(offsets.confirmed, IsEmpty());
  EXPECT_THAT(offsets.unclear, ElementsAre(1));
}

TEST(SiteFinder, TextMayEndAnywhere) {
  const std::vector<uint8_t> code = {0xb8, 0, 0x10, 0, 0, 0x0f, 0x01, 0xc1, 0x66, 0x90};
  for (size_t size = 0; size < code.size(); ++size) {
    auto found = Find({code.begin(), code.begin() + static_cast<ptrdiff_t>(size)});
    ASSERT_EQ(found.size(), size >= 8 ? 1u : 0u) << size;
    if (found.empty()) continue;
    EXPECT_TRUE(found[0].confirmed);
    EXPECT_FALSE(found[0].five_bytes);
  }
  EXPECT_TRUE(Find(code).at(0).five_bytes);
}

TEST(SiteFinder, FiveBytesAreThosePaddedAsTheAbiSays) {
  EXPECT_TRUE(Find({0x0f, 0x01, 0xc1, 0x66, 0x90, 0xc3}).at(0).five_bytes);
  EXPECT_FALSE(Find({0x0f, 0x01, 0xc1, 0x90, 0x90, 0xc3}).at(0).five_bytes);
  EXPECT_FALSE(Find({0x0f, 0x01, 0xc1, 0x66, 0x66, 0x90}).at(0).five_bytes);
}

TEST(SiteFinder, EntriesOutsideTextAreIgnored) {
  const std::vector<uint8_t> code = {0x0f, 0x01, 0xc1, 0xc3};
  auto offsets = Split(Find(code, {0, kText - 1, kText + 4, ~uint64_t{0}}));
  EXPECT_THAT(offsets.unclear, ElementsAre(0));
  EXPECT_THAT(Split(Find(code, {0, kText, ~uint64_t{0}})).confirmed, ElementsAre(0));
  EXPECT_THAT(FindSites({}, std::vector<uint64_t>{kText}), IsEmpty());
}

TEST(SiteFinder, ControlFlowCrossesSegmentsAndSitesComeByAddress) {
  const std::vector<uint8_t> first = {0xe9, 0xfb, 0x0f, 0, 0, 0x0f, 0x01, 0xc1};  // jmp 0x2000
  const std::vector<uint8_t> second = {0x0f, 0x01, 0xd9, 0xc3};
  const std::vector<TextSpan> text = {{0x2000, std::as_bytes(std::span(second))},
                                      {kText, std::as_bytes(std::span(first))}};
  auto found = FindSites(text, std::vector<uint64_t>{kText});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].gpa, kText + 5);
  EXPECT_FALSE(found[0].confirmed);
  EXPECT_EQ(found[1].gpa, 0x2000u);
  EXPECT_TRUE(found[1].confirmed);
}

}  // namespace
}  // namespace trapline::engine::direct

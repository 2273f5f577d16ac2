// SPDX-License-Identifier: Apache-2.0
// Pages and rights of a guest process: every page of RAM once, with the rights it is to have, and
// nothing else.
#include "core/engine/direct/memory_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <string>
#include <vector>

namespace trapline::engine::direct {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kCode = PROT_READ | PROT_EXEC, kData = PROT_READ | PROT_WRITE;
constexpr uint64_t kFourGiB = uint64_t{4} << 30;

struct Refused {
  const char* name;
  std::vector<ImageSegment> segments;
  const char* why;  // empty: it is taken
};
void PrintTo(const Refused& image, std::ostream* out) { *out << image.name; }

class Segments : public ::testing::TestWithParam<Refused> {};

TEST_P(Segments, AreCheckedAndTheReasonIsReadable) {
  absl::Status status = CheckSegments(GetParam().segments);
  if (*GetParam().why == 0) {
    EXPECT_TRUE(status.ok()) << status;
    return;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().why));
}

INSTANTIATE_TEST_SUITE_P(
    Images, Segments,
    ::testing::Values(
        Refused{"None", {}, "no ELF64 executable"},
        Refused{"Usual",
                {{0x200000, 0x1234, false, true},
                 {0x202000, 0x10, false, false},
                 {0x203000, 0x5000, true, false}},
                ""},
        Refused{"WritableText",
                {{0x200000, 0x1000, false, true}, {0x201000, 0x10, true, true}},
                "the segment at 0x201000 is executable and writable"},
        Refused{"HighText", {{kFourGiB, 0x1000, false, true}}, "above 4 GiB"},
        Refused{"TextAcrossFourGiB", {{kFourGiB - 0x1000, 0x1001, false, true}}, "above 4 GiB"},
        Refused{"TextUpToFourGiB", {{kFourGiB - 0x1000, 0x1000, false, true}}, ""},
        Refused{"HighData", {{0x200000, 1, false, true}, {kFourGiB, 0x1000, true, false}}, ""},
        Refused{"SharedPage",
                {{0x200000, 0x1001, false, true}, {0x201800, 0x10, true, false}},
                "the segment at 0x200000 shares a page"},
        Refused{"SharedPageOfDataAndConstants",
                {{0x200000, 0x10, false, false}, {0x200800, 0x10, true, false}},
                "shares a page"},
        Refused{"SharedPageWithTheSameRights",
                {{0x200000, 0x10, false, true}, {0x200800, 0x10, false, true}},
                ""},
        Refused{"NeighbouringPages",
                {{0x200000, 0x1000, false, true}, {0x201000, 0x10, true, false}},
                ""}),
    [](const auto& info) { return info.param.name; });

// What a page is to be; 0: not mapped.
uint32_t Wanted(uint64_t page, const std::vector<RamRegion>& ram,
                const std::vector<ImageSegment>& segments) {
  bool hole = page >= TRAPLINE_CONTROL && page < TRAPLINE_NEAR_END;
  bool inside = std::any_of(ram.begin(), ram.end(), [&](const RamRegion& region) {
    return page >= region.gpa && page < region.gpa + region.size;
  });
  if (!inside || hole || page < TRAPLINE_RAM_START) return 0;
  for (const ImageSegment& s : segments) {
    if (s.gpa >= page + kPage || s.gpa + s.size <= page) continue;
    if (s.executable) return kCode;
    return s.writable ? kData : uint32_t{PROT_READ};
  }
  return kData;
}

struct Layout {
  const char* name;
  std::vector<RamRegion> ram;
  std::vector<ImageSegment> segments;
};
void PrintTo(const Layout& layout, std::ostream* out) { *out << layout.name; }

class Maps : public ::testing::TestWithParam<Layout> {
 protected:
  std::vector<Mapping> Map() { return MapRam(GetParam().ram, GetParam().segments); }
};

TEST_P(Maps, EveryPageOnceWithItsRights) {
  std::vector<Mapping> mappings = Map();
  uint64_t offset = 0;
  for (const RamRegion& region : GetParam().ram) {
    for (uint64_t page = region.gpa; page < region.gpa + region.size; page += kPage) {
      std::vector<Mapping> here;
      for (const Mapping& m : mappings) {
        if (page >= m.address && page < m.address + m.size) here.push_back(m);
      }
      uint32_t wanted = Wanted(page, GetParam().ram, GetParam().segments);
      ASSERT_EQ(here.size(), wanted != 0 ? 1u : 0u) << std::hex << page;
      if (here.empty()) continue;
      ASSERT_EQ(here[0].protection, wanted) << std::hex << page;
      ASSERT_EQ(here[0].fd, uint32_t{kRamFd});
      ASSERT_EQ(here[0].offset + (page - here[0].address), offset + (page - region.gpa));
    }
    offset += region.size;
  }
  for (const Mapping& m : mappings) {
    EXPECT_NE(Wanted(m.address, GetParam().ram, GetParam().segments), 0u) << std::hex << m.address;
    EXPECT_EQ(m.address % kPage, 0u);
    EXPECT_EQ(m.size % kPage, 0u);
  }
}

// Gaps, mappings and what the engine keeps of its own cover the address space, each byte once.
TEST_P(Maps, GapsAreAllTheRest) {
  std::vector<Mapping> mappings = Map();
  mappings.push_back({TRAPLINE_COUNTERS, kPage, 0, kStatsFd, kData});
  std::vector<Gap> pieces = GapsBetween(mappings);
  for (const Gap& gap : pieces) {
    EXPECT_GT(gap.size, 0u);
    EXPECT_EQ((gap.address | gap.size) % kPage, 0u);
  }
  for (const Mapping& m : mappings) pieces.push_back({m.address, m.size});
  std::sort(pieces.begin(), pieces.end(),
            [](const Gap& a, const Gap& b) { return a.address < b.address; });
  std::vector<uint64_t> kept;  // where there is neither
  uint64_t at = 0;
  for (const Gap& piece : pieces) {
    ASSERT_GE(piece.address, at);
    if (piece.address > at) kept.push_back(at);
    at = piece.address + piece.size;
  }
  EXPECT_EQ(at, uint64_t{TRAPLINE_ADDRESS_END});
  EXPECT_THAT(kept, ::testing::ElementsAre(TRAPLINE_CONTROL, TRAPLINE_PROGRAM, TRAPLINE_SETUP));
}

const ImageSegment kText{0x200000, 0x1234, false, true}, kConstants{0x202000, 1, false, false},
    kVariables{0x203000, 0x2345, true, false};
INSTANTIATE_TEST_SUITE_P(
    Of, Maps,
    ::testing::Values(
        Layout{"Usual", {{0, 64 << 20, nullptr}}, {kText, kConstants, kVariables}},
        Layout{"HighRam",
               {{0, 8 << 20, nullptr}, {kFourGiB, 4 << 20, nullptr}},
               {kText, {kFourGiB + 0x1000, 0x800, false, false}}},
        Layout{"LittleRam", {{0, 0x90000, nullptr}}, {{0x40000, 0x1000, false, true}}},
        Layout{"LowText",
               {{0, 4 << 20, nullptr}},
               {{0x20000, 0x3000, false, true}, {0x30000, 0x10, false, false}}},
        Layout{"AcrossTheHole", {{0, 4 << 20, nullptr}}, {{0x90000, 0x90000, false, true}}},
        Layout{"UpToTheEnd", {{0, 4 << 20, nullptr}}, {{0x3ff000, 0x1000, false, true}}},
        Layout{"BelowAllRam", {{0, 4 << 20, nullptr}}, {{0x8000, 0x10000, false, true}}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace trapline::engine::direct

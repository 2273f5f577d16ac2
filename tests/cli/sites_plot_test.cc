// SPDX-License-Identifier: Apache-2.0
// The picture of a VM's sites: XML that others can read, lines and bars as the figures say.
#include "cli/sites_plot.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/ledgers.h"
#include "tests/cli/xml_parser.h"

namespace trapline::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

size_t CountOf(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

// The heights at which a polyline of that class runs, from left to right.
std::vector<double> Heights(const std::string& svg, const std::string& css) {
  const size_t end = svg.find("\" class=\"" + css + "\"/>");
  if (end == std::string::npos) return {};
  const size_t begin = svg.rfind("points=\"", end) + 8;
  std::vector<double> heights;
  for (size_t comma = svg.find(',', begin); comma < end; comma = svg.find(',', comma + 1))
    heights.push_back(std::stod(svg.substr(comma + 1)));
  return heights;
}

SitesRecording Patched() {
  SitesRecording recording;
  recording.vm = "a";
  recording.engine = "soft";
  recording.samples = {{0, {0, 0, 0}}, {1, {1000, 0, 0}}, {2, {1000, 0, 100000}}};
  recording.marks = {{1, false, "f: trapping -> linked (trap threshold)"},
                     {1.5, true, "g: linked -> reverted (reverted on request)"}};
  recording.sites = {MakeSite({"f+0x4", 0x1000, 10, 1000, 100000, 20000000})};
  return recording;
}

TEST(SitesPlot, IsWellFormedWhateverItIsToldToDraw) {
  const std::string parser = FindXmlParser();
  if (parser.empty()) GTEST_SKIP() << "neither xmllint nor python3 is here";
  std::vector<SitesRecording> recordings = {{}, Patched(), Patched(), Patched()};
  recordings[2].vm = "<&\"'>";
  recordings[2].marks[0].what = "\x01<script>";
  recordings[2].sites[0].set_symbol(std::string(60, '<') + "\u00e9");
  recordings[3].samples = {{0, {}}, {0, {UINT64_MAX, 1, 1}}, {1e-9, {0, UINT64_MAX, 5}}};
  recordings[3].sites[0].mutable_paths(0)->set_cycles(UINT64_MAX);
  recordings[3].sites[0].mutable_paths(1)->set_calls(1);
  for (const SitesRecording& recording : recordings) {
    const std::string svg = RenderSitesPlot(recording);
    EXPECT_TRUE(IsWellFormed(parser, svg)) << svg;
    EXPECT_THAT(svg, Not(HasSubstr("<script>")));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf\"")));
  }
}

TEST(SitesPlot, ARateIsAStairOfItsInterval) {
  const std::string svg = RenderSitesPlot(Patched());
  const std::vector<double> traps = Heights(svg, "trap"), linked = Heights(svg, "linked");
  ASSERT_THAT(traps, SizeIs(4));
  ASSERT_THAT(linked, SizeIs(4));
  EXPECT_EQ(traps[0], traps[1]);
  EXPECT_LT(traps[1], traps[2]) << "SVG counts from the top: 1000 a second, then none";
  EXPECT_EQ(traps[2], linked[0]) << "none is on the axis";
  EXPECT_LT(linked[2], traps[0]) << "a hundred times as many are higher up";
  EXPECT_THAT(Heights(svg, "interrupt"), SizeIs(0)) << "no call came in by it";
}

TEST(SitesPlot, PatchesAndRevertsAreTicksBelowTheAxis) {
  const std::string svg = RenderSitesPlot(Patched());
  EXPECT_EQ(CountOf(svg, "class=\"patch\""), 1u);
  EXPECT_EQ(CountOf(svg, "class=\"revert\""), 1u);
  EXPECT_THAT(svg, HasSubstr("trapping -&gt; linked (trap threshold)"));
  EXPECT_THAT(svg, HasSubstr("1 patch, 1 revert<"));
}

TEST(SitesPlot, ARewrittenSiteHasABarForEachWayItWasEntered) {
  SitesRecording recording = Patched();
  recording.sites.push_back(MakeSite({"never_patched", 0x2000, 10, 7, 0, 7000}));
  const std::string svg = RenderSitesPlot(recording);
  EXPECT_THAT(svg, HasSubstr("f+0x4, trap (emulate): 1,000 calls, 20,000 cycles each"));
  EXPECT_THAT(svg, HasSubstr("f+0x4, linked: 100,000 calls, 40 cycles each"));
  EXPECT_THAT(svg, Not(HasSubstr("never_patched")));
}

TEST(SitesPlot, TheBusiestAreShownFirstAndNotAll) {
  SitesRecording recording = Patched();
  recording.sites.clear();
  for (uint64_t i = 0; i < 30; ++i)
    recording.sites.push_back(MakeSite({"f" + std::to_string(i), 0x1000 + i, 10, 1, 10 + i, 1000}));
  const std::string svg = RenderSitesPlot(recording);
  EXPECT_EQ(CountOf(svg, ", trap (emulate): "), 12u);
  EXPECT_LT(svg.find(">f29<"), svg.find(">f28<"));
  EXPECT_THAT(svg, Not(HasSubstr(">f17<")));
}

TEST(SitesPlot, ARecorderSumsWhatItKnows) {
  SitesRecorder recorder;
  v1::WatchSitesResponse response;
  response.set_snapshot(true);
  response.set_more(true);
  *response.add_sites() = MakeSite({"f", 0x1000, 10, 5, 100, 10});
  recorder.Take(response, 0.1);
  EXPECT_THAT(recorder.samples(), SizeIs(0)) << "more of the revision follows";
  response.Clear();
  *response.add_sites() = MakeSite({"g", 0x2000, 10, 7, 0, 10});
  recorder.Take(response, 0.2);
  response.Clear();
  *response.add_sites() = MakeSite({"g", 0x2000, 10, 9, 0, 10});
  recorder.Take(response, 0.3);
  ASSERT_THAT(recorder.samples(), SizeIs(2));
  EXPECT_EQ(recorder.samples()[0].calls.traps, 12u);
  EXPECT_EQ(recorder.samples()[1].calls.traps, 14u);
  EXPECT_EQ(recorder.samples()[1].calls.linked, 100u);
  EXPECT_DOUBLE_EQ(recorder.samples()[1].seconds, 0.3);
  EXPECT_THAT(recorder.sites(), SizeIs(2));
}

TEST(SitesPlot, MarksAreWhatRewroteASiteSinceTheBeginning) {
  const auto transition = [](int64_t seconds, v1::Site::State from, v1::Site::State to) {
    v1::SiteTransition one;
    one.mutable_time()->set_seconds(seconds);
    one.set_from(from);
    one.set_to(to);
    one.set_site("vms/a/sites/0x1000");
    return one;
  };
  const auto marks = MarksOf({transition(99, v1::Site::TRAPPING, v1::Site::PATCHED),
                              transition(101, v1::Site::STATE_UNSPECIFIED, v1::Site::TRAPPING),
                              transition(102, v1::Site::PATCHED, v1::Site::LINKED),
                              transition(103, v1::Site::LINKED, v1::Site::PINNED)},
                             absl::FromUnixSeconds(100));
  ASSERT_THAT(marks, SizeIs(2));
  EXPECT_FALSE(marks[0].revert);
  EXPECT_DOUBLE_EQ(marks[0].seconds, 2);
  EXPECT_TRUE(marks[1].revert);
  EXPECT_THAT(marks[1].what, HasSubstr("0x1000: linked -> pinned"));
}

}  // namespace
}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// The technique table's picture: XML that others can read, bars as long as their figures say.
#include "cli/bench_plot.h"

#include <string>
#include <vector>

#include "cli/svg.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/xml_parser.h"

namespace trapline::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const PlotCaption kCaption = {"direct", "A CPU"};

// The widths of the bars of a class ("then", "here"), from the top. The legend's squares have
// heights of their own.
std::vector<double> Widths(const std::string& svg, const std::string& css) {
  std::vector<double> widths;
  const std::string width = "width=\"", rest = "\" height=\"16.0\" class=\"" + css + "\"";
  for (size_t end = svg.find(rest); end != std::string::npos; end = svg.find(rest, end + 1)) {
    const size_t begin = svg.rfind(width, end) + width.size();
    widths.push_back(std::stod(svg.substr(begin, end - begin)));
  }
  return widths;
}

TEST(BenchPlot, IsWellFormedWhateverItIsToldToDraw) {
  const std::string parser = FindXmlParser();
  if (parser.empty()) GTEST_SKIP() << "neither xmllint nor python3 is here";
  const std::vector<std::vector<TechniqueRow>> tables = {
      {},
      {{"emulate", {22000, 23000}, 0}, {"linked", {40}, 0}},
      {{"<&\"'>", {1}, 0}, {"\x01\x1b", {0}, 0}, {"none", {}, 0}, {"most", {UINT64_MAX}, 0}},
  };
  for (const auto& rows : tables) {
    const std::string svg = RenderTechniquePlot(rows, {"a<b", "\"A\" & 'B' CPU\n"});
    EXPECT_TRUE(IsWellFormed(parser, svg)) << svg;
  }
}

TEST(BenchPlot, EscapesWhatXmlWouldRead) {
  EXPECT_THAT(RenderTechniquePlot({{"linked", {40}, 0}}, {"direct", "<script>"}),
              Not(HasSubstr("<script>")));
}

TEST(BenchPlot, ADecadeIsAsLongAnywhere) {
  const std::string svg = RenderTechniquePlot(
      {{"linked", {40}, 0}, {"host", {400}, 0}, {"posted", {4000}, 0}}, kCaption);
  const std::vector<double> widths = Widths(svg, "here");
  ASSERT_EQ(widths.size(), 3u);
  EXPECT_GT(widths[0], 0);
  EXPECT_NEAR(widths[1] - widths[0], widths[2] - widths[1], 0.2);
}

TEST(BenchPlot, Lguest2008StandsBesideWhatItHad) {
  const std::string svg =
      RenderTechniquePlot({{"emulate", {3466}, 0}, {"linked", {40}, 0}}, kCaption);
  ASSERT_EQ(Widths(svg, "then").size(), 1u);
  ASSERT_EQ(Widths(svg, "here").size(), 2u);
  EXPECT_DOUBLE_EQ(Widths(svg, "then")[0], Widths(svg, "here")[0]) << "equal figures, equal bars";
  EXPECT_THAT(svg, HasSubstr(">3,466<"));
  EXPECT_THAT(svg, HasSubstr("engine direct, on A CPU"));
}

}  // namespace
}  // namespace trapline::cli

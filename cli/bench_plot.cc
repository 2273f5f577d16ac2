// SPDX-License-Identifier: Apache-2.0
// The technique table as a picture.
#include "cli/bench_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "cli/svg.h"
#include "cli/units.h"

namespace trapline::cli {
namespace {

constexpr double kWidth = 820, kTop = 92, kAxisLeft = 244, kAxisRight = 690;
constexpr double kBar = 16, kBarGap = 3, kGroupGap = 15, kBottom = 46;

constexpr absl::string_view kLight =
    ".then { fill: #9aa4ae; } .here { fill: #0969da; } .spread { stroke: #1f2328; stroke-width: "
    "1.5; }";
constexpr absl::string_view kDark =
    ".then { fill: #656c76; } .here { fill: #4493f8; } .spread { stroke: #e6edf3; }";

struct Bar {
  absl::string_view css;  // "then" or "here"
  absl::string_view when;
  std::vector<uint64_t> cycles;
};
struct Group {
  std::string name, what;
  std::vector<Bar> bars;
};

std::vector<Group> GroupsOf(const std::vector<TechniqueRow>& rows) {
  std::vector<Group> groups;
  for (const TechniqueRow& row : rows) {
    const BenchRow* known = FindBenchRow(row.name);
    Group group{row.name, known ? std::string(known->what) : "", {}};
    for (const HistoricRow& historic : LguestRows()) {
      if (historic.name == row.name)
        group.bars.push_back(
            {"then", "lguest, 2008", {historic.cycles.begin(), historic.cycles.end()}});
    }
    group.bars.push_back({"here", "here", row.cycles});
    groups.push_back(std::move(group));
  }
  return groups;
}

LogScale ScaleOf(const std::vector<Group>& groups) {
  uint64_t least = UINT64_MAX, most = 1;
  for (const Group& group : groups) {
    for (const Bar& bar : group.bars) {
      for (const uint64_t cycles : bar.cycles) {
        least = std::min(least, std::max<uint64_t>(cycles, 1));
        most = std::max(most, cycles);
      }
    }
  }
  return {std::min(least, most), most, kAxisLeft, kAxisRight};
}

std::string DrawBar(const Bar& bar, const LogScale& scale, double y) {
  if (bar.cycles.empty()) return "";
  const auto [least, most] = std::minmax_element(bar.cycles.begin(), bar.cycles.end());
  const uint64_t median = Median(bar.cycles);
  const double middle = y + kBar / 2;
  std::string out =
      svg::Rect({kAxisLeft, y, scale.At(static_cast<double>(median)) - kAxisLeft, kBar}, bar.css,
                absl::StrCat(bar.when, ": ", Grouped(median)));
  absl::StrAppend(&out, svg::Line(scale.At(static_cast<double>(*least)), middle,
                                  scale.At(static_cast<double>(*most)), middle, "spread"));
  return absl::StrCat(out, svg::Text(scale.At(static_cast<double>(*most)) + 7, middle + 4.5,
                                     "value", "start", Grouped(median)));
}

double HeightOf(const Group& group) {
  // Two lines of text stand beside the bars.
  return std::max(static_cast<double>(group.bars.size()) * (kBar + kBarGap), 2 * kBar) + kGroupGap;
}

std::string DrawGroup(const Group& group, const LogScale& scale, double top) {
  const double height = HeightOf(group) - kGroupGap;
  const double bars = static_cast<double>(group.bars.size()) * (kBar + kBarGap) - kBarGap;
  std::string out =
      absl::StrCat(svg::Text(kAxisLeft - 12, top + height / 2 - 2, "name", "end", group.name),
                   svg::Text(kAxisLeft - 12, top + height / 2 + 13, "small", "end", group.what));
  double y = top + (height - bars) / 2;
  for (const Bar& bar : group.bars) {
    absl::StrAppend(&out, DrawBar(bar, scale, y));
    y += kBar + kBarGap;
  }
  return out;
}

std::string DrawAxis(const LogScale& scale, double bottom) {
  std::string out;
  for (int decade = scale.first(); decade <= scale.last(); ++decade) {
    const double value = std::pow(10, decade), x = scale.At(value);
    const std::string text = decade <= std::numeric_limits<uint64_t>::digits10
                                 ? Grouped(static_cast<uint64_t>(value))
                                 : absl::StrCat("1e", decade);
    absl::StrAppend(&out, svg::Line(x, kTop - 8, x, bottom, "grid"),
                    svg::Text(x, bottom + 16, "small", "middle", text));
  }
  return absl::StrCat(out,
                      svg::Text((kAxisLeft + kAxisRight) / 2, bottom + 34, "small", "middle",
                                "cycles of the time-stamp counter, medians; the line is the spread "
                                "of the runs; logarithmic"));
}

std::string DrawLegend(const PlotCaption& caption) {
  const auto square = [](double x, absl::string_view css) {
    return svg::Rect({x, 48, 12, 12}, css);
  };
  return absl::StrCat(
      svg::Text(20, 30, "title", "start", "What one hypercall costs, by technique"),
      square(20, "then"), svg::Text(38, 58.5, "name", "start", "lguest, 2008"), square(140, "here"),
      svg::Text(158, 58.5, "name", "start",
                absl::StrCat("Trapline, engine ", caption.engine, ", on ", caption.cpu_model)));
}

}  // namespace

std::string RenderTechniquePlot(const std::vector<TechniqueRow>& rows, const PlotCaption& caption) {
  const std::vector<Group> groups = GroupsOf(rows);
  const LogScale scale = ScaleOf(groups);
  double y = kTop;
  std::string body;
  for (const Group& group : groups) {
    absl::StrAppend(&body, DrawGroup(group, scale, y));
    y += HeightOf(group);
  }
  return svg::Document({.width = kWidth,
                        .height = y + kBottom,
                        .title = "What one hypercall costs, by technique",
                        .light = kLight,
                        .dark = kDark},
                       absl::StrCat(DrawLegend(caption), DrawAxis(scale, y - kGroupGap / 2), body));
}

}  // namespace trapline::cli

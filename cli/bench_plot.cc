// SPDX-License-Identifier: Apache-2.0
// The technique table as a picture: SVG, written by hand so that nothing else is needed to draw it.
#include "cli/bench_plot.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/table.h"
#include "cli/units.h"

namespace trapline::cli {
namespace {

constexpr double kWidth = 820, kTop = 92, kAxisLeft = 244, kAxisRight = 690;
constexpr double kBar = 16, kBarGap = 3, kGroupGap = 15, kBottom = 46;

constexpr char kStyle[] = R"(<style>
  .paper { fill: #ffffff; } text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 17px; font-weight: 600; } .small { font-size: 11.5px; fill: #59636e; }
  .grid { stroke: #d8dee4; } .then { fill: #9aa4ae; } .here { fill: #0969da; }
  .spread { stroke: #1f2328; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } text { fill: #e6edf3; } .small { fill: #9198a1; } .grid { stroke: #2a313c; }
    .then { fill: #656c76; } .here { fill: #4493f8; } .spread { stroke: #e6edf3; }
  }
</style>
)";

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

std::string Text(double x, double y, absl::string_view css, absl::string_view anchor,
                 absl::string_view text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">%s</text>\n",
                         x, y, css, anchor, XmlText(text));
}

std::string Line(double x1, double y1, double x2, double y2, absl::string_view css) {
  return absl::StrFormat("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n",
                         x1, y1, x2, y2, css);
}

std::string DrawBar(const Bar& bar, const LogScale& scale, double y) {
  if (bar.cycles.empty()) return "";
  const auto [least, most] = std::minmax_element(bar.cycles.begin(), bar.cycles.end());
  const uint64_t median = Median(bar.cycles);
  const double middle = y + kBar / 2;
  std::string out = absl::StrFormat(
      "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"%s\" rx=\"1.5\">"
      "<title>%s: %s</title></rect>\n",
      kAxisLeft, y, scale.At(static_cast<double>(median)) - kAxisLeft, kBar, bar.css, bar.when,
      Grouped(median));
  absl::StrAppend(&out, Line(scale.At(static_cast<double>(*least)), middle,
                             scale.At(static_cast<double>(*most)), middle, "spread"));
  return absl::StrCat(out, Text(scale.At(static_cast<double>(*most)) + 7, middle + 4.5, "value",
                                "start", Grouped(median)));
}

double HeightOf(const Group& group) {
  // Two lines of text stand beside the bars.
  return std::max(static_cast<double>(group.bars.size()) * (kBar + kBarGap), 2 * kBar) + kGroupGap;
}

std::string DrawGroup(const Group& group, const LogScale& scale, double top) {
  const double height = HeightOf(group) - kGroupGap;
  const double bars = static_cast<double>(group.bars.size()) * (kBar + kBarGap) - kBarGap;
  std::string out =
      absl::StrCat(Text(kAxisLeft - 12, top + height / 2 - 2, "name", "end", group.name),
                   Text(kAxisLeft - 12, top + height / 2 + 13, "small", "end", group.what));
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
    absl::StrAppend(&out, Line(x, kTop - 8, x, bottom, "grid"),
                    Text(x, bottom + 16, "small", "middle", Grouped(static_cast<uint64_t>(value))));
  }
  return absl::StrCat(out, Text((kAxisLeft + kAxisRight) / 2, bottom + 34, "small", "middle",
                                "cycles of the time-stamp counter, medians; the line is the spread "
                                "of the runs; logarithmic"));
}

std::string DrawLegend(const PlotCaption& caption) {
  const auto square = [](double x, absl::string_view css) {
    return absl::StrFormat(
        "<rect x=\"%.1f\" y=\"48\" width=\"12\" height=\"12\" class=\"%s\" rx=\"1.5\"/>\n", x, css);
  };
  return absl::StrCat(
      Text(20, 30, "title", "start", "What one hypercall costs, by technique"), square(20, "then"),
      Text(38, 58.5, "name", "start", "lguest, 2008"), square(140, "here"),
      Text(158, 58.5, "name", "start",
           absl::StrCat("Trapline, engine ", caption.engine, ", on ", caption.cpu_model)));
}

}  // namespace

std::string XmlText(absl::string_view text) {
  return absl::StrReplaceAll(
      Printable(text),
      {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&apos;"}});
}

LogScale::LogScale(uint64_t least, uint64_t most, double from, double to) : from_(from), to_(to) {
  const double low = std::log10(static_cast<double>(std::max<uint64_t>(least, 1)));
  const double high = std::log10(static_cast<double>(std::max<uint64_t>(most, 1)));
  first_ = std::max(0, static_cast<int>(std::ceil(low)) - 1);
  last_ = std::max(first_ + 1, static_cast<int>(std::ceil(high)));
}

double LogScale::At(double value) const {
  const double decades = std::log10(std::max(value, 1.0)) - first_;
  return from_ + (to_ - from_) * std::max(0.0, decades) / (last_ - first_);
}

std::string RenderTechniquePlot(const std::vector<TechniqueRow>& rows, const PlotCaption& caption) {
  const std::vector<Group> groups = GroupsOf(rows);
  const LogScale scale = ScaleOf(groups);
  double y = kTop;
  std::string body;
  for (const Group& group : groups) {
    absl::StrAppend(&body, DrawGroup(group, scale, y));
    y += HeightOf(group);
  }
  return absl::StrCat(
      absl::StrFormat("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                      "width=\"%.0f\" height=\"%.0f\" role=\"img\">\n",
                      kWidth, y + kBottom, kWidth, y + kBottom),
      "<title>What one hypercall costs, by technique</title>\n", kStyle,
      "<rect width=\"100%\" height=\"100%\" class=\"paper\"/>\n", DrawLegend(caption),
      DrawAxis(scale, y - kGroupGap / 2), body, "</svg>\n");
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// A VM's sites over time, as a picture.
#include "cli/sites_plot.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/names.h"
#include "cli/sites_text.h"
#include "cli/svg.h"
#include "cli/units.h"

namespace trapline::cli {
namespace {

constexpr double kWidth = 860, kLeft = 110, kRight = 820;
// The panel of rates, and the strip below its axis that has the marks.
constexpr double kRateTop = 96, kRateBottom = 316, kMarkHeight = 12;
// The panel of costs.
constexpr double kCostHeading = 408, kCostTop = 432, kCostLeft = 280, kCostRight = 740;
constexpr double kBar = 11, kBarGap = 2, kGroupGap = 12, kBottom = 46;
constexpr size_t kMostSites = 12, kMostMarks = 400, kLongestLabel = 32;

constexpr absl::string_view kLight =
    ".trap { fill: #bc6c00; stroke: #bc6c00; } .interrupt { fill: #0969da; stroke: #0969da; }\n"
    ".linked { fill: #1a7f37; stroke: #1a7f37; } .revert { stroke: #cf222e; }\n"
    ".patch { stroke: #1f2328; } polyline { stroke-width: 1.8; }\n"
    "polyline.trap, polyline.interrupt, polyline.linked { fill: none; } rect { stroke: none; }";
constexpr absl::string_view kDark =
    ".trap { fill: #d29922; stroke: #d29922; } .interrupt { fill: #4493f8; stroke: #4493f8; }\n"
    ".linked { fill: #3fb950; stroke: #3fb950; } .revert { stroke: #f85149; }\n"
    ".patch { stroke: #e6edf3; }\n"
    "polyline.trap, polyline.interrupt, polyline.linked { fill: none; } rect { stroke: none; }";

// A way for calls to come in.
struct Way {
  absl::string_view css, name;
  v1::Technique technique;
  uint64_t CallCounts::*count;
};
constexpr std::array kWays = {
    Way{"trap", "trap (emulate)", v1::TECHNIQUE_EMULATE, &CallCounts::traps},
    Way{"interrupt", "interrupt", v1::TECHNIQUE_INTERRUPT, &CallCounts::interrupt},
    Way{"linked", "linked", v1::TECHNIQUE_LINKED, &CallCounts::linked}};

void Count(const v1::Site& site, CallCounts* counts) {
  for (const auto& path : site.paths()) {
    for (const Way& way : kWays) {
      if (path.path() == way.technique) counts->*way.count += path.calls();
    }
  }
}

// ---- Calls a second ----

struct Rate {
  double from, to, per_second;
};

// Between one sample and the next; counters that were reset between them show nothing.
std::vector<Rate> RatesOf(const std::vector<SitesRecording::Sample>& samples, const Way& way) {
  std::vector<Rate> rates;
  for (size_t i = 1; i < samples.size(); ++i) {
    const double from = samples[i - 1].seconds, to = samples[i].seconds;
    const uint64_t before = samples[i - 1].calls.*way.count, after = samples[i].calls.*way.count;
    if (to <= from) continue;
    const uint64_t calls = after < before ? 0 : after - before;
    rates.push_back({from, to, static_cast<double>(calls) / (to - from)});
  }
  return rates;
}

double MostOf(const std::vector<std::vector<Rate>>& all) {
  double most = 0;
  for (const auto& rates : all) {
    for (const Rate& rate : rates) most = std::max(most, rate.per_second);
  }
  return most;
}

// "10", "10k", "1M": whole powers of ten.
std::string DecadeText(int decade) {
  static constexpr std::array kSuffixes = {"", "k", "M", "G", "T", "P"};
  const size_t thousands = std::min<size_t>(static_cast<size_t>(decade) / 3, kSuffixes.size() - 1);
  return absl::StrCat(static_cast<uint64_t>(std::pow(10, decade - 3 * static_cast<int>(thousands))),
                      kSuffixes[thousands]);
}

std::string DrawRateAxes(const LogScale& calls, const LinearScale& time) {
  std::string out;
  for (int decade = calls.first(); decade <= calls.last(); ++decade) {
    const double y = calls.At(std::pow(10, decade));
    absl::StrAppend(&out, svg::Line(kLeft, y, kRight, y, "grid"),
                    svg::Text(kLeft - 8, y + 4, "small", "end", DecadeText(decade)));
  }
  const int ticks = static_cast<int>(std::lround(time.top() / time.step()));
  for (int i = 0; i <= ticks; ++i) {
    const double seconds = i * time.step(), x = time.At(seconds);
    absl::StrAppend(&out, svg::Line(x, kRateBottom, x, kRateBottom + 5, "grid"),
                    svg::Text(x, kRateBottom + kMarkHeight + 20, "small", "middle",
                              absl::StrFormat("%g s", seconds)));
  }
  return out;
}

// A stair, as a rate is one figure for all of its interval.
std::string DrawRates(const std::vector<Rate>& rates, const LogScale& calls,
                      const LinearScale& time, absl::string_view css) {
  std::vector<svg::Point> points;
  bool any = false;
  for (const Rate& rate : rates) {
    any |= rate.per_second > 0;
    points.push_back({time.At(rate.from), calls.At(rate.per_second)});
    points.push_back({time.At(rate.to), calls.At(rate.per_second)});
  }
  return any ? svg::Polyline(points, css) : "";
}

std::string DrawMarks(const SitesRecording& recording, const LinearScale& time) {
  std::string out;
  size_t drawn = 0, reverts = 0;
  for (const SitesRecording::Mark& mark : recording.marks) {
    if (mark.revert) ++reverts;
    if (mark.seconds > time.top() || ++drawn > kMostMarks) continue;
    const double x = time.At(std::max(mark.seconds, 0.0));
    absl::StrAppend(&out, svg::Line(x, kRateBottom, x, kRateBottom + kMarkHeight,
                                    mark.revert ? "revert" : "patch", mark.what));
  }
  const size_t patches = recording.marks.size() - reverts;
  return absl::StrCat(
      out, svg::Text((kLeft + kRight) / 2, kRateBottom + kMarkHeight + 38, "small", "middle",
                     absl::StrCat("calls a second, logarithmic; ticks below the axis: ", patches,
                                  patches == 1 ? " patch, " : " patches, ", reverts,
                                  reverts == 1 ? " revert" : " reverts")));
}

std::string DrawRatePanel(const SitesRecording& recording) {
  std::vector<std::vector<Rate>> all;
  for (const Way& way : kWays) all.push_back(RatesOf(recording.samples, way));
  const double end = recording.samples.empty() ? 0 : recording.samples.back().seconds;
  const LinearScale time(end, kLeft, kRight);
  const LogScale calls(1, static_cast<uint64_t>(std::min(MostOf(all), 1e15)), kRateBottom,
                       kRateTop);
  std::string out = DrawRateAxes(calls, time);
  for (size_t i = 0; i < kWays.size(); ++i)
    absl::StrAppend(&out, DrawRates(all[i], calls, time, kWays[i].css));
  return absl::StrCat(out, DrawMarks(recording, time));
}

// ---- Cycles a call ----

struct Cost {
  const Way* way;
  double cycles;  // of one call, on the average
  uint64_t calls;
};
struct SiteCosts {
  const v1::Site* site;
  std::vector<Cost> costs;
  uint64_t calls = 0;
};

bool WasRewritten(const v1::Site& site) {
  return site.state() != v1::Site::DIRECT && site.fast_calls() > 0;
}

SiteCosts CostsOf(const v1::Site& site) {
  SiteCosts costs{&site, {}};
  for (const Way& way : kWays) {
    for (const auto& path : site.paths()) {
      if (path.path() != way.technique || path.calls() == 0) continue;
      costs.costs.push_back({&way,
                             static_cast<double>(path.cycles()) / static_cast<double>(path.calls()),
                             path.calls()});
      costs.calls += path.calls();
    }
  }
  return costs;
}

// The busiest first.
std::vector<SiteCosts> BusiestRewritten(const std::vector<v1::Site>& sites) {
  std::vector<SiteCosts> all;
  for (const v1::Site& site : sites) {
    if (WasRewritten(site)) all.push_back(CostsOf(site));
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.calls > b.calls; });
  if (all.size() > kMostSites) all.resize(kMostSites);
  return all;
}

LogScale CostScale(const std::vector<SiteCosts>& all) {
  double least = 1e15, most = 1;
  for (const SiteCosts& site : all) {
    for (const Cost& cost : site.costs) {
      least = std::min(least, std::max(cost.cycles, 1.0));
      most = std::min(std::max(most, cost.cycles), 1e15);
    }
  }
  return {static_cast<uint64_t>(std::min(least, most)), static_cast<uint64_t>(std::ceil(most)),
          kCostLeft, kCostRight};
}

double HeightOf(const SiteCosts& site) {
  // Two lines of text stand beside the bars.
  return std::max(static_cast<double>(site.costs.size()) * (kBar + kBarGap), 26.0) + kGroupGap;
}

// Shortened between characters, not within one.
std::string Shortened(std::string label) {
  if (label.size() <= kLongestLabel) return label;
  size_t end = kLongestLabel - 1;
  while (end > 0 && (static_cast<unsigned char>(label[end]) & 0xc0) == 0x80) --end;
  return absl::StrCat(label.substr(0, end), "…");
}

std::string DrawCosts(const SiteCosts& costs, const LogScale& scale, double top) {
  const v1::Site& site = *costs.site;
  const std::string label = site.symbol().empty() ? Hex(site.gva()) : site.symbol();
  const double height = HeightOf(costs) - kGroupGap;
  std::string out = absl::StrCat(
      svg::Text(kCostLeft - 12, top + height / 2 - 2, "name", "end", Shortened(label)),
      svg::Text(kCostLeft - 12, top + height / 2 + 12, "small", "end",
                absl::StrCat(SiteStateName(site.state()), ", ", Grouped(costs.calls), " calls")));
  double y = top;
  for (const Cost& cost : costs.costs) {
    const std::string cycles =
        cost.cycles < 1e15 ? Grouped(static_cast<uint64_t>(std::lround(cost.cycles))) : "many";
    const double end = std::min(scale.At(cost.cycles), kCostRight);
    absl::StrAppend(&out,
                    svg::Rect({kCostLeft, y, end - kCostLeft, kBar}, cost.way->css,
                              absl::StrCat(label, ", ", cost.way->name, ": ", Grouped(cost.calls),
                                           " calls, ", cycles, " cycles each")),
                    svg::Text(end + 6, y + kBar - 1, "small", "start", cycles));
    y += kBar + kBarGap;
  }
  return out;
}

std::string DrawCostAxis(const LogScale& scale, double bottom) {
  std::string out;
  for (int decade = scale.first(); decade <= scale.last(); ++decade) {
    const double value = std::pow(10, decade), x = scale.At(value);
    absl::StrAppend(&out, svg::Line(x, kCostTop - 6, x, bottom, "grid"),
                    svg::Text(x, bottom + 16, "small", "middle", DecadeText(decade)));
  }
  return absl::StrCat(out, svg::Text((kCostLeft + kCostRight) / 2, bottom + 34, "small", "middle",
                                     "cycles of the time-stamp counter a call, averages; "
                                     "logarithmic"));
}

std::string DrawCostPanel(const SitesRecording& recording, double* height) {
  const std::vector<SiteCosts> sites = BusiestRewritten(recording.sites);
  std::string body = svg::Text(20, kCostHeading, "title", "start",
                               "What a call cost, before and after each patch");
  if (sites.empty()) {
    *height = kCostTop + kBottom;
    return absl::StrCat(
        body, svg::Text(20, kCostTop, "small", "start", "No site has been called after a patch."));
  }
  const LogScale scale = CostScale(sites);
  double y = kCostTop;
  std::string bars;
  for (const SiteCosts& site : sites) {
    absl::StrAppend(&bars, DrawCosts(site, scale, y));
    y += HeightOf(site);
  }
  *height = y + kBottom;
  return absl::StrCat(body, DrawCostAxis(scale, y - kGroupGap / 2), bars);
}

std::string TitleOf(const SitesRecording& recording) {
  return absl::StrCat("Hypercalls of ", recording.vm, ", engine ", recording.engine);
}

std::string DrawLegend(const SitesRecording& recording) {
  std::string out = svg::Text(20, 30, "title", "start", TitleOf(recording));
  double x = 20;
  for (const Way& way : kWays) {
    absl::StrAppend(&out, svg::Rect({x, 48, 12, 12}, way.css),
                    svg::Text(x + 18, 58.5, "name", "start", way.name));
    x += 140;
  }
  return out;
}

}  // namespace

void SitesRecorder::Take(const v1::WatchSitesResponse& response, double seconds) {
  if (response.snapshot()) known_.clear();
  for (const v1::Site& site : response.sites()) known_[site.gpa()] = site;
  if (response.more()) return;
  SitesRecording::Sample sample{seconds, {}};
  for (const auto& [gpa, site] : known_) Count(site, &sample.calls);
  samples_.push_back(sample);
}

std::vector<v1::Site> SitesRecorder::sites() const {
  std::vector<v1::Site> sites;
  for (const auto& [gpa, site] : known_) sites.push_back(site);
  return sites;
}

std::vector<SitesRecording::Mark> MarksOf(const std::vector<v1::SiteTransition>& transitions,
                                          absl::Time began) {
  std::vector<SitesRecording::Mark> marks;
  for (const v1::SiteTransition& transition : transitions) {
    const bool patch = transition.to() == v1::Site::PATCHED || transition.to() == v1::Site::LINKED;
    const bool was_rewritten =
        transition.from() == v1::Site::PATCHED || transition.from() == v1::Site::LINKED;
    if (ToAbsl(transition.time()) < began || (!patch && !was_rewritten)) continue;
    marks.push_back({absl::ToDoubleSeconds(ToAbsl(transition.time()) - began), !patch,
                     absl::StrCat(transition.symbol().empty() ? LastSegment(transition.site())
                                                              : transition.symbol(),
                                  ": ", SiteStateName(transition.from()), " -> ",
                                  SiteStateName(transition.to()), " (", transition.reason(), ")")});
  }
  return marks;
}

std::string RenderSitesPlot(const SitesRecording& recording) {
  double height = 0;
  const std::string costs = DrawCostPanel(recording, &height);
  return svg::Document({.width = kWidth,
                        .height = height,
                        .title = TitleOf(recording),
                        .light = kLight,
                        .dark = kDark},
                       absl::StrCat(DrawLegend(recording), DrawRatePanel(recording), costs));
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// The technique table: what lguest measured in 2008, what the guest measured here, and the ratios.
#include "cli/bench_table.h"

#include <algorithm>
#include <array>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "cli/table.h"

namespace trapline::cli {
namespace {

struct Historic {
  absl::string_view technique;
  absl::string_view what;
  std::array<uint64_t, 5> cycles;
};

// lguest's host on a 2008 CPU without VT, cycles of one hypercall (core/README.md tells the story).
constexpr std::array<Historic, 3> kLguest = {{
    {"direct", "int $0x1f in the source", {2915, 2789, 2764, 2721, 2898}},
    {"emulate", "every vmcall faults", {3410, 3681, 3466, 3392, 3780}},
    {"interrupt", "first fault rewrites it", {2977, 2975, 2891, 2637, 2884}},
}};

absl::string_view WhatItIs(absl::string_view technique) {
  for (const Historic& row : kLguest) {
    if (row.technique == technique) return row.what;
  }
  return technique == "linked" ? "rewritten, entered without a fault" : "";
}

std::string Figures(const std::vector<uint64_t>& cycles) { return absl::StrJoin(cycles, " "); }

// How many times cheaper `row` is than emulation; empty where that was not measured.
std::string Ratio(uint64_t emulated, const std::vector<uint64_t>& cycles) {
  const uint64_t median = Median(cycles);
  if (emulated == 0 || median == 0) return "";
  return absl::StrFormat("%.2fx", static_cast<double>(emulated) / static_cast<double>(median));
}

uint64_t EmulatedMedian(const std::vector<TechniqueRow>& rows) {
  for (const TechniqueRow& row : rows) {
    if (row.technique == "emulate") return Median(row.cycles);
  }
  return 0;
}

std::string RenderRows(const std::vector<TechniqueRow>& rows, bool colour) {
  Table table({{"TECHNIQUE"},
               {"WHAT IT IS"},
               {"CYCLES PER HYPERCALL"},
               {"MEDIAN", Align::kRight},
               {"VS EMULATE", Align::kRight}});
  const uint64_t emulated = EmulatedMedian(rows);
  for (const TechniqueRow& row : rows) {
    table.Add({Cell(row.technique), Cell(WhatItIs(row.technique)), Cell(Figures(row.cycles)),
               Cell(absl::StrCat(Median(row.cycles))),
               Cell(Ratio(emulated, row.cycles), Colour::kGreen)});
  }
  return table.Render(colour);
}

}  // namespace

absl::StatusOr<TechniqueRow> ParseTechniqueRow(absl::string_view output,
                                               absl::string_view technique) {
  const std::string prefix = absl::StrCat(technique, ":");
  for (absl::string_view line :
       absl::StrSplit(output, absl::ByAnyChar("\r\n"), absl::SkipEmpty())) {
    if (!absl::ConsumePrefix(&line, prefix)) continue;
    TechniqueRow row{std::string(technique), {}};
    for (absl::string_view word : absl::StrSplit(line, ' ', absl::SkipWhitespace())) {
      uint64_t cycles = 0;
      if (!absl::SimpleAtoi(word, &cycles)) break;
      row.cycles.push_back(cycles);
    }
    if (!row.cycles.empty()) return row;
  }
  return absl::InternalError(
      absl::StrCat("the benchmark guest printed no figures for ", technique));
}

uint64_t Median(std::vector<uint64_t> figures) {
  if (figures.empty()) return 0;
  const auto middle = figures.begin() + static_cast<std::ptrdiff_t>((figures.size() - 1) / 2);
  std::nth_element(figures.begin(), middle, figures.end());
  return *middle;
}

std::string RenderTechniqueTable(const std::vector<TechniqueRow>& rows, bool colour) {
  std::vector<TechniqueRow> historic;
  historic.reserve(std::size(kLguest));
  for (const Historic& row : kLguest) {
    historic.push_back({std::string(row.technique), {row.cycles.begin(), row.cycles.end()}});
  }
  return absl::StrCat("lguest, 2008:\n", RenderRows(historic, colour), "\nTrapline, here:\n",
                      RenderRows(rows, colour));
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// The technique table: what lguest measured in 2008, what the guest measured here, and the ratios.
#include "cli/bench_table.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "cli/table.h"
#include "cli/units.h"

namespace trapline::cli {
namespace {

constexpr std::array<BenchRow, 7> kRows = {{
    {"direct", "direct", "", "int $0x1f in the source"},
    {"emulate", "emulate", "", "every vmcall faults"},
    {"interrupt", "interrupt", "", "first fault rewrites it"},
    {"linked", "linked", "", "rewritten, entered without a fault"},
    {"linked3", "linked", " site=3", "the same, a site of three bytes"},
    {"host", "linked", " call=host", "linked, answered by the VMM"},
    {"posted", "linked", " call=posted", "linked, left for the VMM in a ring"},
}};

constexpr std::array<HistoricRow, 3> kLguest = {{
    {"direct", {2915, 2789, 2764, 2721, 2898}},
    {"emulate", {3410, 3681, 3466, 3392, 3780}},
    {"interrupt", {2977, 2975, 2891, 2637, 2884}},
}};

const TechniqueRow* FindRow(const std::vector<TechniqueRow>& rows, absl::string_view name) {
  const auto found = std::find_if(rows.begin(), rows.end(),
                                  [name](const TechniqueRow& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

double Quotient(uint64_t a, uint64_t b) {
  return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
}

std::string RatioText(const Ratio& ratio) {
  if (ratio.median == 0) return "";
  return absl::StrFormat("%.2fx (%.2f to %.2f)", ratio.median, ratio.least, ratio.most);
}

std::string NanosecondsText(const TechniqueRow& row) {
  return row.khz == 0 ? "" : absl::StrFormat("%.1f", Nanoseconds(row));
}

std::string CallsText(const TechniqueRow& row) {
  const double nanoseconds = Nanoseconds(row);
  return nanoseconds == 0 ? "" : Grouped(static_cast<uint64_t>(1e9 / nanoseconds));
}

std::string RenderRows(const std::vector<TechniqueRow>& rows, bool here, bool colour) {
  std::vector<Table::Column> columns = {{"TECHNIQUE"},
                                        {"WHAT IT IS"},
                                        {"CYCLES PER HYPERCALL"},
                                        {"MEDIAN", Align::kRight},
                                        {"VS EMULATE", Align::kRight}};
  if (here) {
    columns.push_back({"NS", Align::kRight});
    columns.push_back({"CALLS/S", Align::kRight});
  }
  Table table(std::move(columns));
  for (const TechniqueRow& row : rows) {
    const BenchRow* known = FindBenchRow(row.name);
    std::vector<Cell> cells = {Cell(row.name), Cell(known ? known->what : ""),
                               Cell(absl::StrJoin(row.cycles, " ")),
                               Cell(absl::StrCat(Median(row.cycles))),
                               Cell(RatioText(AgainstEmulation(rows, row)), Colour::kGreen)};
    if (here) {
      cells.emplace_back(NanosecondsText(row));
      cells.emplace_back(CallsText(row));
    }
    table.Add(std::move(cells));
  }
  return table.Render(colour);
}

// The figures behind "prefix" in the lines of a guest's output; empty where there is no such line.
std::vector<uint64_t> FiguresBehind(absl::string_view output, const std::string& prefix) {
  for (absl::string_view line :
       absl::StrSplit(output, absl::ByAnyChar("\r\n"), absl::SkipEmpty())) {
    if (!absl::ConsumePrefix(&line, prefix)) continue;
    std::vector<uint64_t> figures;
    for (absl::string_view word : absl::StrSplit(line, ' ', absl::SkipWhitespace())) {
      uint64_t figure = 0;
      if (!absl::SimpleAtoi(word, &figure)) break;
      figures.push_back(figure);
    }
    if (!figures.empty()) return figures;
  }
  return {};
}

}  // namespace

std::span<const BenchRow> BenchRows() { return kRows; }
std::span<const HistoricRow> LguestRows() { return kLguest; }

const BenchRow* FindBenchRow(absl::string_view name) {
  const auto* found = std::find_if(kRows.begin(), kRows.end(),
                                   [name](const BenchRow& row) { return row.name == name; });
  return found == kRows.end() ? nullptr : found;
}

absl::StatusOr<TechniqueRow> ParseTechniqueRow(absl::string_view output, const BenchRow& wanted) {
  TechniqueRow row{std::string(wanted.name),
                   FiguresBehind(output, absl::StrCat(wanted.technique, ":"))};
  if (row.cycles.empty()) {
    return absl::InternalError(
        absl::StrCat("the benchmark guest printed no figures for ", wanted.name));
  }
  const std::vector<uint64_t> khz = FiguresBehind(output, "khz:");
  row.khz = khz.empty() ? 0 : khz.front();
  return row;
}

uint64_t Median(std::vector<uint64_t> figures) {
  if (figures.empty()) return 0;
  const auto middle = figures.begin() + static_cast<std::ptrdiff_t>((figures.size() - 1) / 2);
  std::nth_element(figures.begin(), middle, figures.end());
  return *middle;
}

double Nanoseconds(const TechniqueRow& row) { return 1e6 * Quotient(Median(row.cycles), row.khz); }

Ratio AgainstEmulation(const std::vector<TechniqueRow>& rows, const TechniqueRow& row) {
  const TechniqueRow* emulate = FindRow(rows, "emulate");
  if (!emulate) return {};
  Ratio ratio;
  ratio.median = Quotient(Median(emulate->cycles), Median(row.cycles));
  ratio.least = ratio.most = ratio.median;
  for (size_t i = 0; i < std::min(emulate->cycles.size(), row.cycles.size()); ++i) {
    const double of_run = Quotient(emulate->cycles[i], row.cycles[i]);
    ratio.least = std::min(ratio.least, of_run);
    ratio.most = std::max(ratio.most, of_run);
  }
  return ratio;
}

std::string RenderTechniqueTable(const std::vector<TechniqueRow>& rows, absl::string_view where,
                                 bool colour) {
  std::vector<TechniqueRow> historic;
  historic.reserve(std::size(kLguest));
  for (const HistoricRow& row : kLguest) {
    historic.push_back({std::string(row.name), {row.cycles.begin(), row.cycles.end()}});
  }
  return absl::StrCat("lguest, 2008:\n", RenderRows(historic, false, colour), "\nTrapline, here",
                      where.empty() ? "" : " (", Printable(where), where.empty() ? "" : ")", ":\n",
                      RenderRows(rows, true, colour));
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// The list of sites: which columns there is room for, and its rows.
#include "cli/top/list_page.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/top/figures.h"
#include "cli/units.h"

namespace trapline::cli::top {
namespace {

constexpr int kGap = 1;

enum class Field {
  kVm,
  kSite,
  kSymbol,
  kState,
  kCalls,
  kCyclesPerCall,
  kCycles,
  kTrapRate,
  kTraps,
  kRate,
  kNumbers,
};

struct Column {
  Field field;
  absl::string_view title;
  int least;
  bool right;
  std::optional<SortBy> sort;
};

// As they stand from left to right.
constexpr std::array<Column, 11> kColumns = {{
    {Field::kVm, "VM", 8, false, std::nullopt},
    {Field::kSite, "SITE", 10, false, SortBy::kSite},
    {Field::kSymbol, "SYMBOL", 12, false, SortBy::kSymbol},
    {Field::kState, "TECHNIQUE", 10, false, SortBy::kState},
    {Field::kCalls, "CALLS/S", 7, true, SortBy::kCalls},
    {Field::kCyclesPerCall, "CYC/CALL", 8, true, SortBy::kCyclesPerCall},
    {Field::kCycles, "CYC/S", 7, true, SortBy::kCycles},
    {Field::kTrapRate, "TRAPS/S", 7, true, SortBy::kTrapRate},
    {Field::kTraps, "TRAPS", 7, true, SortBy::kTraps},
    {Field::kRate, "RATE", 6, false, std::nullopt},
    {Field::kNumbers, "HYPERCALLS", 10, false, std::nullopt},
}};

// Those that a narrow screen keeps longest come first.
constexpr std::array<Field, 11> kByImportance = {
    Field::kSite,          Field::kVm,     Field::kState,   Field::kCalls,
    Field::kCyclesPerCall, Field::kSymbol, Field::kTraps,   Field::kRate,
    Field::kNumbers,       Field::kCycles, Field::kTrapRate};

// Who gets the room that is left, up to which width, in turn.
struct Growth {
  Field field;
  int width;
};
constexpr std::array<Growth, 8> kGrowth = {{{Field::kSymbol, 24},
                                            {Field::kState, 18},
                                            {Field::kNumbers, 20},
                                            {Field::kRate, 16},
                                            {Field::kVm, 16},
                                            {Field::kSite, 18},
                                            {Field::kSymbol, 48},
                                            {Field::kRate, 32}}};

struct Placed {
  Column column;
  int width;
};

const Column& ColumnOf(Field field) {
  return *std::find_if(kColumns.begin(), kColumns.end(),
                       [&](const Column& column) { return column.field == field; });
}

std::vector<Placed> Fit(int width, bool with_vm) {
  std::vector<Placed> placed;
  int left = width + kGap;
  for (const Field field : kByImportance) {
    const Column& column = ColumnOf(field);
    if (field == Field::kVm && !with_vm) continue;
    if (column.least + kGap > left) continue;
    left -= column.least + kGap;
    placed.push_back({column, column.least});
  }
  for (const Growth& growth : kGrowth) {
    for (Placed& one : placed) {
      if (one.column.field != growth.field) continue;
      const int more = std::clamp(growth.width - one.width, 0, left);
      one.width += more;
      left -= more;
    }
  }
  std::sort(placed.begin(), placed.end(),
            [](const Placed& a, const Placed& b) { return a.column.field < b.column.field; });
  return placed;
}

std::string TextOf(const TrackedSite& site, const Placed& placed, const Model& model,
                   const Glyphs& glyphs, absl::Time now) {
  switch (placed.column.field) {
    case Field::kVm:
      return model.vm(site).id;
    case Field::kSite:
      return Hex(site.gpa);
    case Field::kSymbol:
      return site.symbol.empty() ? Hex(site.gva) : site.symbol;
    case Field::kState:
      return StateText(site, now, placed.width, glyphs);
    case Field::kCalls:
      return Scaled(model.RatesOf(site).calls);
    case Field::kCyclesPerCall:
      return site.calls() == 0 ? "-" : Scaled(model.CyclesPerCall(site));
    case Field::kCycles:
      return Scaled(model.RatesOf(site).cycles);
    case Field::kTrapRate:
      return Scaled(model.RatesOf(site).traps);
    case Field::kTraps:
      return Fitted(site.traps, placed.width);
    case Field::kRate:
      return Sparkline(model.HistoryOf(site, static_cast<uint64_t>(placed.width)), glyphs);
    case Field::kNumbers:
      return NumbersText(site, placed.width);
  }
  return "";
}

Style FieldStyle(const TrackedSite& site, Field field, absl::Time now) {
  if (field == Field::kState) return IsMarked(site, now) ? Style::kBold : StyleOf(site.state);
  return field == Field::kSite || field == Field::kNumbers ? Style::kDim : Style::kPlain;
}

void PutField(Grid& grid, int row, int column, absl::string_view text, Style style,
              const Placed& placed) {
  if (placed.column.right) {
    grid.PutRight(row, column, text, style, placed.width);
  } else {
    grid.Put(row, column, text, style, placed.width);
  }
}

}  // namespace

Style StyleOf(v1::Site::State state) {
  switch (state) {
    case v1::Site::LINKED:
      return Style::kGood;
    case v1::Site::PATCHED:
    case v1::Site::DIRECT:
      return Style::kFair;
    case v1::Site::RETIRED:
      return Style::kDim;
    default:
      return Style::kDear;
  }
}

void DrawList(Grid& grid, int top, int bottom, const Model& model, const View& view,
              const Window& window, const Glyphs& glyphs, absl::Time now) {
  const std::vector<Placed> columns = Fit(grid.columns(), view.vm.empty());
  grid.StyleRow(top, Style::kHeading);
  int left = 0;
  for (const Placed& placed : columns) {
    const bool sorted = placed.column.sort == view.listing.sort;
    PutField(grid, top, left, placed.column.title, sorted ? Style::kSelected : Style::kHeading,
             placed);
    left += placed.width + kGap;
  }
  int row = top + 1;
  for (const TrackedSite* site : window.rows) {
    if (row >= bottom) break;
    left = 0;
    for (const Placed& placed : columns) {
      PutField(grid, row, left, TextOf(*site, placed, model, glyphs, now),
               FieldStyle(*site, placed.column.field, now), placed);
      left += placed.width + kGap;
    }
    const size_t place = view.listing.first + static_cast<size_t>(row - top - 1);
    if (place == window.cursor) grid.StyleRow(row, Style::kSelected);
    ++row;
  }
}

}  // namespace trapline::cli::top

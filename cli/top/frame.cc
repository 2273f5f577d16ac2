// SPDX-License-Identifier: Apache-2.0
// The whole screen: header, the page that is open, status line, keys.
#include "cli/top/frame.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/names.h"
#include "cli/top/figures.h"
#include "cli/top/list_page.h"
#include "cli/top/site_page.h"
#include "cli/units.h"

namespace trapline::cli::top {
namespace {

// Screens lower than this have one line of header, and no line of keys.
constexpr int kTall = 10;

struct KeyHint {
  absl::string_view key;
  absl::string_view does;
};

constexpr std::array<KeyHint, 9> kListKeys = {{{"Enter", "open"},
                                               {"s", "sort"},
                                               {"/", "filter"},
                                               {"p", "pin"},
                                               {"P", "patch"},
                                               {"u", "as VM"},
                                               {"v", "revert"},
                                               {"?", "help"},
                                               {"q", "quit"}}};
constexpr std::array<KeyHint, 9> kSiteKeys = {{{"Esc", "back"},
                                               {"Tab", "next"},
                                               {"t", "trace"},
                                               {"p", "pin"},
                                               {"P", "patch"},
                                               {"u", "as VM"},
                                               {"v", "revert"},
                                               {"?", "help"},
                                               {"q", "quit"}}};
constexpr std::array<KeyHint, 17> kHelp = {
    {{"up down j k", "move; the cursor stays on its site wherever that goes"},
     {"PgUp PgDn End", "move further"},
     {"Home", "to the top, and stay there"},
     {"Enter", "open the site: record, cycles, code, transitions, calls"},
     {"Esc", "back; in the list: no filter"},
     {"s > <", "sort by the next or previous column"},
     {"r", "reverse the order"},
     {"/", "show only sites with this in symbol, address, state, VM or call"},
     {"space", "hold the display; the guest and the counting go on"},
     {"p", "pin: the site's policy is emulate"},
     {"P", "patch: its policy is linked, at the first call"},
     {"u", "as VM: it follows the VM's policy again"},
     {"v", "revert: put the original bytes back"},
     {"Tab", "open site: next section"},
     {"t", "open site: follow its calls; slows the VM while it does"},
     {"? h", "this"},
     {"q", "quit"}}};

struct Sums {
  v1::SiteTotals totals;
  std::array<double, 3> calls{};
  double cycles = 0;
  uint64_t missed = 0;
  std::map<std::string, int> engines;
  int running = 0;
};

Sums SumsOf(const Model& model) {
  Sums sums;
  v1::SiteTotals& all = sums.totals;
  for (const TrackedVm& vm : model.vms()) {
    all.set_sites(all.sites() + vm.totals.sites());
    all.set_traps(all.traps() + vm.totals.traps());
    all.set_fast_calls(all.fast_calls() + vm.totals.fast_calls());
    all.set_patches(all.patches() + vm.totals.patches());
    all.set_reverts(all.reverts() + vm.totals.reverts());
    for (size_t path = 0; path < sums.calls.size(); ++path)
      sums.calls[path] += vm.calls_by_path[path];
    sums.cycles += vm.cycles_rate;
    sums.missed += vm.missed;
    if (vm.state == v1::Vm::RUNNING) ++sums.running;
    ++sums.engines[EngineName(vm.engine)];
  }
  return sums;
}

Style StyleOfVm(v1::Vm::State state) {
  switch (state) {
    case v1::Vm::RUNNING:
      return Style::kGood;
    case v1::Vm::FAILED:
      return Style::kBad;
    default:
      return Style::kDear;
  }
}

// "debian  running  engine direct", or how many of which there are.
std::vector<Span> WhoLine(const Model& model, const View& view, const Sums& sums) {
  if (view.vm.empty()) {
    std::vector<Span> line = {{"all VMs  ", Style::kBold},
                              {absl::StrCat(model.vms().size(), "  ")},
                              {absl::StrCat(sums.running, " running"), Style::kGood}};
    for (const auto& [engine, count] : sums.engines)
      line.push_back({absl::StrCat("  ", engine, " ", count)});
    return line;
  }
  const TrackedVm* vm = model.FindVm(view.vm);
  if (vm == nullptr)
    return {{absl::StrCat(view.vm, "  "), Style::kBold}, {"there is no such VM now", Style::kBad}};
  std::vector<Span> line = {
      {absl::StrCat(vm->id, "  "), Style::kBold},
      {ShortName(v1::Vm::State_Name(vm->state), "STATE_"), StyleOfVm(vm->state)},
      {absl::StrCat("  engine ", EngineName(vm->engine))}};
  if (vm->state != v1::Vm::RUNNING && !vm->state_reason.empty())
    line.push_back({absl::StrCat("  (", vm->state_reason, ")"), Style::kDim});
  return line;
}

void DrawWho(Grid& grid, const Model& model, const View& view, const SiteDetail& detail,
             const Sums& sums, absl::Time now) {
  grid.Put(0, 0, WhoLine(model, view, sums));
  const bool tracing = view.site_open && detail.tracing;
  const std::string clock =
      absl::StrCat(tracing ? "  TRACING" : "", view.paused ? "  PAUSED" : "", "  ",
                   absl::FormatTime("%H:%M:%S", now, absl::LocalTimeZone()));
  const int width = CellsOf(clock);
  if (grid.columns() > 2 * width)
    grid.Put(0, grid.columns() - width, clock, view.paused || tracing ? Style::kDear : Style::kDim);
}

void DrawTotals(Grid& grid, const View& view, const Sums& sums, size_t matching) {
  const auto& calls = sums.calls;
  grid.Put(1, 0,
           {{"calls/s ", Style::kDim},
            {Scaled(calls[0] + calls[1] + calls[2]), Style::kBold},
            {"  trap ", Style::kDim},
            {Scaled(calls[0]), Style::kDear},
            {"  interrupt ", Style::kDim},
            {Scaled(calls[1]), Style::kFair},
            {"  linked ", Style::kDim},
            {Scaled(calls[2]), Style::kGood},
            {"  cycles/s ", Style::kDim},
            {Scaled(sums.cycles)}});
  std::vector<Span> line = {
      {"sites ", Style::kDim},
      {Grouped(sums.totals.sites())},
      {"  patches ", Style::kDim},
      {Grouped(sums.totals.patches())},
      {"  reverts ", Style::kDim},
      {Grouped(sums.totals.reverts())},
      {"  missed ", Style::kDim},
      {Grouped(sums.missed)},
      {"  sort ", Style::kDim},
      {absl::StrCat(SortName(view.listing.sort), view.listing.reverse ? " reversed" : "")}};
  if (!view.listing.filter.empty()) {
    line.push_back({"  filter ", Style::kDim});
    line.push_back(
        {absl::StrCat("\"", view.listing.filter, "\" has ", Grouped(matching)), Style::kDear});
  }
  grid.Put(2, 0, line);
}

void DrawStatus(Grid& grid, int row, const Model& model, const View& view) {
  if (view.typing) {
    const int end = grid.Put(row, 0, absl::StrCat("filter: ", view.listing.filter), Style::kBold);
    grid.Put(row, end, "_   Enter keeps it, Esc does not", Style::kDim);
    return;
  }
  if (!view.status.empty()) {
    grid.Put(row, 0, view.status, view.status_bad ? Style::kBad : Style::kBold);
    return;
  }
  grid.Put(row, 0, TroubleOf(model), Style::kBad);
}

template <size_t kCount>
void DrawKeys(Grid& grid, int row, const std::array<KeyHint, kCount>& hints) {
  int column = 0;
  for (const KeyHint& hint : hints) {
    column = grid.Put(row, column, hint.key, Style::kBold);
    column = grid.Put(row, column, absl::StrCat(" ", hint.does), Style::kDim) + 2;
  }
}

void DrawHelp(Grid& grid, int top, int bottom) {
  constexpr int kKeyWidth = 15;
  for (const KeyHint& hint : kHelp) {
    if (top >= bottom) return;
    grid.Put(top, 1, hint.key, Style::kBold);
    grid.Put(top, 1 + kKeyWidth, hint.does);
    ++top;
  }
}

void DrawSite(Grid& grid, int top, int bottom, const Model& model, View& view,
              const SiteDetail& detail, const Glyphs& glyphs) {
  const SitePage page = SitePageOf(detail, model, grid.columns(), glyphs);
  const auto height = static_cast<size_t>(std::max(0, bottom - top));
  view.page = std::max<size_t>(1, height);
  view.lines = page.lines.size();
  view.sections = page.sections;
  view.scroll = std::min(view.scroll, view.lines - std::min(view.lines, height));
  for (size_t i = 0; i < height && view.scroll + i < page.lines.size(); ++i)
    grid.Put(top + static_cast<int>(i), 0, page.lines[view.scroll + i]);
}

}  // namespace

Grid DrawFrame(const Model& model, View& view, const SiteDetail& detail, ScreenSize size,
               const Glyphs& glyphs, absl::Time now) {
  Grid grid(size.rows, size.columns);
  const bool tall = grid.rows() >= kTall;
  const int bottom = std::max(0, grid.rows() - (tall ? 2 : 1));
  const Sums sums = SumsOf(model);
  DrawWho(grid, model, view, detail, sums, now);
  if (view.help) {
    DrawHelp(grid, tall ? 2 : 1, bottom);
  } else if (view.site_open) {
    DrawSite(grid, 1, bottom, model, view, detail, glyphs);
  } else {
    const int top = tall ? 3 : 1;
    auto height = static_cast<size_t>(std::max(0, bottom - top - 1));
    if (view.most_rows != 0) height = std::min(height, view.most_rows);
    const Window window = Arrange(model, view.listing, height);
    view.page = std::max<size_t>(1, height);
    if (tall) DrawTotals(grid, view, sums, window.matching);
    if (top < bottom) DrawList(grid, top, bottom, model, view, window, glyphs, now);
  }
  DrawStatus(grid, bottom, model, view);
  if (tall) DrawKeys(grid, grid.rows() - 1, view.site_open ? kSiteKeys : kListKeys);
  return grid;
}

}  // namespace trapline::cli::top

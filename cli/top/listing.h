// SPDX-License-Identifier: Apache-2.0
// Which sites the list shows, in which order, and where the cursor is.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/top/model.h"

namespace trapline::cli::top {

enum class SortBy { kCalls, kCycles, kTrapRate, kCyclesPerCall, kTraps, kState, kSymbol, kSite };
constexpr int kSortColumns = 8;

// "calls", "cycles", ... as --sort takes them and the screen says them.
absl::string_view SortName(SortBy column);
absl::StatusOr<SortBy> SortOf(absl::string_view name);
// "calls|cycles|...".
std::string SortNames();

struct Listing {
  SortBy sort = SortBy::kCalls;
  bool reverse = false;
  // Text that the symbol, address, state, VM or a hypercall's name has in it; any case.
  std::string filter;
  // The site that the cursor stays on wherever it moves in the list. Not set: the first row, whose
  // site may change.
  std::optional<SiteKey> held;
  size_t first = 0;  // row at the top of the window
};

// What is in the window.
struct Window {
  std::vector<const TrackedSite*> rows;
  size_t matching = 0;
  size_t cursor = 0;  // among all that match
};

// The rows from listing.first on, moved so that the cursor is among them. Sorts no more than these,
// and lets a held site go that is not there.
Window Arrange(const Model& model, Listing& listing, size_t height);

// The site at that place of the whole list (the last one where it is shorter); null where the list
// is empty.
const TrackedSite* SiteAt(const Model& model, const Listing& listing, size_t place);

// The word for a site's way in: "emulate", "interrupt", "linked", or what keeps it from one:
// "pinned", "reverted", "retired", "direct", "ambiguous".
absl::string_view StateWord(v1::Site::State state);

}  // namespace trapline::cli::top

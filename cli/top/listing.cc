// SPDX-License-Identifier: Apache-2.0
// Which sites the list shows, in which order, and where the cursor is.
#include "cli/top/listing.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/units.h"

namespace trapline::cli::top {
namespace {

constexpr std::array<absl::string_view, kSortColumns> kSortNames = {
    "calls", "cycles", "traprate", "cyc/call", "traps", "state", "symbol", "site"};

bool Contains(absl::string_view text, const std::string& lower_case) {
  return absl::StrContains(absl::AsciiStrToLower(text), lower_case);
}

// Whether it is worth writing an address out to look for this in it.
bool MayBeAddress(const std::string& lower_case) {
  return lower_case.find_first_not_of("0123456789abcdefx") == std::string::npos;
}

bool Matches(const Model& model, const TrackedSite& site, const std::string& lower_case) {
  if (lower_case.empty() || Contains(site.symbol, lower_case)) return true;
  if (Contains(StateWord(site.state), lower_case) || Contains(model.vm(site).id, lower_case))
    return true;
  if (MayBeAddress(lower_case) && Contains(Hex(site.gpa), lower_case)) return true;
  return std::any_of(site.numbers.begin(), site.numbers.end(),
                     [&](const auto& number) { return Contains(number.name, lower_case); });
}

std::vector<const TrackedSite*> Matching(const Model& model, const Listing& listing) {
  const std::string lower_case = absl::AsciiStrToLower(listing.filter);
  std::vector<const TrackedSite*> found;
  for (const TrackedSite& site : model.sites()) {
    if (Matches(model, site, lower_case)) found.push_back(&site);
  }
  return found;
}

// The order of a listing: largest figures first, names in the order of the alphabet.
class Order {
 public:
  Order(const Model& model, const Listing& listing) : model_(model), listing_(listing) {}

  bool operator()(const TrackedSite* a, const TrackedSite* b) const {
    const int by_column = listing_.reverse ? -Compare(*a, *b) : Compare(*a, *b);
    if (by_column != 0) return by_column < 0;
    if (a->gpa != b->gpa) return a->gpa < b->gpa;
    return model_.vm(*a).id < model_.vm(*b).id;
  }

 private:
  template <typename Value>
  static int Rising(const Value& a, const Value& b) {
    return a < b ? -1 : b < a ? 1 : 0;
  }

  int Compare(const TrackedSite& a, const TrackedSite& b) const {
    switch (listing_.sort) {
      case SortBy::kCalls:
        return Rising(model_.RatesOf(b).calls, model_.RatesOf(a).calls);
      case SortBy::kCycles:
        return Rising(model_.RatesOf(b).cycles, model_.RatesOf(a).cycles);
      case SortBy::kTrapRate:
        return Rising(model_.RatesOf(b).traps, model_.RatesOf(a).traps);
      case SortBy::kCyclesPerCall:
        return Rising(model_.CyclesPerCall(b), model_.CyclesPerCall(a));
      case SortBy::kTraps:
        return Rising(b.traps, a.traps);
      case SortBy::kState:
        return Rising(StateWord(a.state), StateWord(b.state));
      case SortBy::kSymbol:
        return Rising(a.symbol, b.symbol);
      case SortBy::kSite:
        return Rising(std::tie(model_.vm(a).id, a.gpa), std::tie(model_.vm(b).id, b.gpa));
    }
    return 0;
  }

  const Model& model_;
  const Listing& listing_;
};

size_t PlaceOf(const std::vector<const TrackedSite*>& sites, const TrackedSite* site,
               const Order& order) {
  return static_cast<size_t>(std::count_if(
      sites.begin(), sites.end(), [&](const TrackedSite* other) { return order(other, site); }));
}

// The place of the held site; the first where there is none to hold.
size_t CursorOf(const Model& model, const std::vector<const TrackedSite*>& sites, Listing& listing,
                const Order& order) {
  if (!listing.held) return 0;
  const TrackedSite* held = model.Find(*listing.held);
  if (held == nullptr || !Matches(model, *held, absl::AsciiStrToLower(listing.filter))) {
    listing.held.reset();
    return 0;
  }
  return PlaceOf(sites, held, order);
}

}  // namespace

absl::string_view SortName(SortBy column) { return kSortNames[static_cast<size_t>(column)]; }

absl::StatusOr<SortBy> SortOf(absl::string_view name) {
  const auto found = std::find(kSortNames.begin(), kSortNames.end(), name);
  if (found != kSortNames.end()) return static_cast<SortBy>(found - kSortNames.begin());
  return absl::InvalidArgumentError(
      absl::StrCat("'", name, "' is none of ", absl::StrJoin(kSortNames, ", ")));
}

std::string SortNames() { return absl::StrJoin(kSortNames, "|"); }

Window Arrange(const Model& model, Listing& listing, size_t height) {
  std::vector<const TrackedSite*> sites = Matching(model, listing);
  const Order order(model, listing);
  Window window;
  window.matching = sites.size();
  window.cursor = CursorOf(model, sites, listing, order);
  if (height == 0) return window;
  if (window.cursor < listing.first) listing.first = window.cursor;
  if (window.cursor >= listing.first + height) listing.first = window.cursor - height + 1;
  listing.first = std::min(listing.first, sites.size() - std::min(sites.size(), height));
  const auto begin = sites.begin() + static_cast<ptrdiff_t>(listing.first);
  const auto end = begin + static_cast<ptrdiff_t>(std::min(height, sites.size() - listing.first));
  std::nth_element(sites.begin(), begin, sites.end(), order);
  std::partial_sort(begin, end, sites.end(), order);
  window.rows.assign(begin, end);
  return window;
}

const TrackedSite* SiteAt(const Model& model, const Listing& listing, size_t place) {
  std::vector<const TrackedSite*> sites = Matching(model, listing);
  if (sites.empty()) return nullptr;
  const auto at = sites.begin() + static_cast<ptrdiff_t>(std::min(place, sites.size() - 1));
  std::nth_element(sites.begin(), at, sites.end(), Order(model, listing));
  return *at;
}

absl::string_view StateWord(v1::Site::State state) {
  switch (state) {
    case v1::Site::TRAPPING:
      return "emulate";
    case v1::Site::PATCHED:
      return "interrupt";
    case v1::Site::LINKED:
      return "linked";
    case v1::Site::REVERTED:
      return "reverted";
    case v1::Site::PINNED:
      return "pinned";
    case v1::Site::RETIRED:
      return "retired";
    case v1::Site::DIRECT:
      return "direct";
    case v1::Site::AMBIGUOUS:
      return "ambiguous";
    default:
      return "unknown";
  }
}

}  // namespace trapline::cli::top

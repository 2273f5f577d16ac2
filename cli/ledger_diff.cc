// SPDX-License-Identifier: Apache-2.0
// Matching the sites of two ledgers, and comparing those that match.
#include "cli/ledger_diff.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "cli/sites_text.h"

namespace trapline::cli {
namespace {

using Sites = std::vector<const v1::Site*>;

struct Symbol {
  absl::string_view function;
  uint64_t offset = 0;
};

// "name+0x12".
Symbol SymbolOf(const v1::Site& site) {
  const absl::string_view text = site.symbol();
  const size_t plus = text.rfind("+0x");
  uint64_t offset = 0;
  if (plus == absl::string_view::npos || !absl::SimpleHexAtoi(text.substr(plus + 1), &offset))
    return {text, 0};
  return {text.substr(0, plus), offset};
}

bool SameBytes(const v1::Site& a, const v1::Site& b) { return a.original() == b.original(); }

bool HypercallInCommon(const v1::Site& a, const v1::Site& b) {
  return std::any_of(a.numbers().begin(), a.numbers().end(), [&b](const auto& number) {
    return std::any_of(b.numbers().begin(), b.numbers().end(),
                       [&number](const auto& other) { return other.number() == number.number(); });
  });
}

class Matcher {
 public:
  Matcher(const v1::SiteLedger& before, const v1::SiteLedger& after) {
    for (const v1::Site& site : before.sites()) before_.push_back(&site);
    for (const v1::Site& site : after.sites()) after_.push_back(&site);
  }

  void Match() {
    MatchUnique(MatchRule::kSymbol, Symbolised, [](const v1::Site& site) {
      return std::make_pair(absl::string_view(site.symbol()), uint64_t{0});
    });
    MatchUnique(MatchRule::kSymbol, Symbolised, [](const v1::Site& site) {
      return std::make_pair(absl::string_view(site.symbol()), site.gva());
    });
    MatchFunctions();
    MatchAddresses();
  }

  const std::vector<SiteMatch>& matches() const { return matches_; }
  Sites RestOf(const Sites& sites) const {
    Sites rest;
    std::copy_if(sites.begin(), sites.end(), std::back_inserter(rest),
                 [this](const v1::Site* site) { return !Taken(site); });
    return rest;
  }
  const Sites& before() const { return before_; }
  const Sites& after() const { return after_; }

 private:
  using Key = std::pair<absl::string_view, uint64_t>;
  using Keyed = std::map<Key, Sites>;

  static bool Symbolised(const v1::Site& site) { return !site.symbol().empty(); }
  bool Taken(const v1::Site* site) const { return counterparts_.count(site) != 0; }

  void Add(const v1::Site* before, const v1::Site* after, MatchRule rule) {
    matches_.push_back({before, after, rule});
    counterparts_[before] = after;
    counterparts_[after] = before;
  }

  template <typename Wanted, typename KeyOf>
  Keyed ByKey(const Sites& sites, Wanted wanted, KeyOf key_of) const {
    Keyed keyed;
    for (const v1::Site* site : sites) {
      if (!Taken(site) && wanted(*site)) keyed[key_of(*site)].push_back(site);
    }
    return keyed;
  }

  // Those whose key one site of each side has, and no more.
  template <typename Wanted, typename KeyOf>
  void MatchUnique(MatchRule rule, Wanted wanted, KeyOf key_of) {
    const Keyed before = ByKey(before_, wanted, key_of), after = ByKey(after_, wanted, key_of);
    for (const auto& [key, sites] : before) {
      const auto found = after.find(key);
      if (found == after.end() || sites.size() != 1 || found->second.size() != 1) continue;
      if (SameBytes(*sites.front(), *found->second.front()))
        Add(sites.front(), found->second.front(), rule);
    }
  }

  // The sites of each function by their offsets, those that have been matched too.
  static std::map<absl::string_view, std::map<uint64_t, Sites>> Functions(const Sites& sites) {
    std::map<absl::string_view, std::map<uint64_t, Sites>> functions;
    for (const v1::Site* site : sites) {
      const Symbol symbol = SymbolOf(*site);
      if (!symbol.function.empty()) functions[symbol.function][symbol.offset].push_back(site);
    }
    return functions;
  }

  // The sites in their order; none where the name stands for more than one function, as the sites
  // have it: two at one offset, or beginnings that differ.
  static Sites InOrder(const std::map<uint64_t, Sites>& function) {
    Sites sites;
    std::set<uint64_t> beginnings;
    for (const auto& [offset, there] : function) {
      if (there.size() != 1) return {};
      beginnings.insert(there.front()->gva() - offset);
      sites.push_back(there.front());
    }
    return beginnings.size() == 1 ? sites : Sites();
  }

  // Whether each has its counterpart in the same place.
  bool InStep(const Sites& before, const Sites& after) const {
    if (before.size() != after.size()) return false;
    for (size_t i = 0; i < before.size(); ++i) {
      const auto found = counterparts_.find(before[i]);
      const bool fits = found != counterparts_.end()
                            ? found->second == after[i]
                            : !Taken(after[i]) && SameBytes(*before[i], *after[i]) &&
                                  HypercallInCommon(*before[i], *after[i]);
      if (!fits) return false;
    }
    return true;
  }

  void MatchFunctions() {
    const auto after = Functions(after_);
    for (const auto& [name, function] : Functions(before_)) {
      const auto found = after.find(name);
      if (found == after.end()) continue;
      const Sites then = InOrder(function), now = InOrder(found->second);
      if (!InStep(then, now)) continue;
      for (size_t i = 0; i < then.size(); ++i) {
        if (!Taken(then[i])) Add(then[i], now[i], MatchRule::kOrder);
      }
    }
  }

  void MatchAddresses() {
    const auto any = [](const v1::Site&) { return true; };
    const auto address = [](const v1::Site& site) { return Key("", site.gva()); };
    const Keyed before = ByKey(before_, any, address), after = ByKey(after_, any, address);
    for (const auto& [key, sites] : before) {
      const auto found = after.find(key);
      if (found == after.end() || sites.size() != 1 || found->second.size() != 1) continue;
      const v1::Site &then = *sites.front(), &now = *found->second.front();
      if ((Symbolised(then) && Symbolised(now)) || !SameBytes(then, now)) continue;
      Add(&then, &now, MatchRule::kAddress);
    }
  }

  Sites before_, after_;
  std::map<const v1::Site*, const v1::Site*> counterparts_;
  std::vector<SiteMatch> matches_;
};

std::pair<uint64_t, uint64_t> AddressOf(const v1::Site& site) { return {site.gva(), site.gpa()}; }

void SortByAddress(Sites& sites) {
  std::sort(sites.begin(), sites.end(),
            [](const v1::Site* a, const v1::Site* b) { return AddressOf(*a) < AddressOf(*b); });
}

}  // namespace

absl::string_view MatchRuleName(MatchRule rule) {
  switch (rule) {
    case MatchRule::kSymbol:
      return "symbol";
    case MatchRule::kOrder:
      return "order";
    case MatchRule::kAddress:
      return "address";
  }
  return "";
}

std::vector<absl::string_view> SiteMatch::Changes() const {
  std::vector<absl::string_view> changes;
  const auto note = [&changes](bool differs, absl::string_view name) {
    if (differs) changes.push_back(name);
  };
  note(before->technique() != after->technique(), "technique");
  note(before->state() != after->state(), "state");
  note(before->state_reason() != after->state_reason(), "stateReason");
  note(before->traps() != after->traps(), "traps");
  note(before->traps() + before->fast_calls() != after->traps() + after->fast_calls(), "calls");
  note(CyclesPerCall(*before) != CyclesPerCall(*after), "cyclesPerCall");
  return changes;
}

std::optional<double> SiteMatch::TimesCheaper() const {
  const std::optional<double> then = CyclesPerCall(*before), now = CyclesPerCall(*after);
  if (!then || !now || *then == 0 || *now == 0) return std::nullopt;
  return *then / *now;
}

LedgerDiff DiffLedgers(const v1::SiteLedger& before, const v1::SiteLedger& after) {
  Matcher matcher(before, after);
  matcher.Match();
  LedgerDiff diff;
  diff.removed = matcher.RestOf(matcher.before());
  diff.added = matcher.RestOf(matcher.after());
  SortByAddress(diff.removed);
  SortByAddress(diff.added);
  for (const SiteMatch& match : matcher.matches()) {
    if (match.Changes().empty()) {
      ++diff.unchanged;
    } else {
      diff.changed.push_back(match);
    }
  }
  std::sort(diff.changed.begin(), diff.changed.end(),
            [](const auto& a, const auto& b) { return AddressOf(*a.after) < AddressOf(*b.after); });
  return diff;
}

}  // namespace trapline::cli

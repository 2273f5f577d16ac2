// SPDX-License-Identifier: Apache-2.0
// What became of a VM's sites between two ledgers: of two runs, two engines, two kernels.
//
// A site is matched only where that is sure, by the first of these rules that holds:
//  - symbol: the same symbol and offset, which no other site of either ledger has. Where others
//  have
//    it (functions of one name in several files), the address has to be the same too.
//  - order: the same function, whose code has moved. Both ledgers must know equally many sites of
//    it, in whose order each has the same bytes as its counterpart and a hypercall in common.
//  - address: the same virtual address and bytes, where a symbol is missing on either side.
// What is left was added or removed. Equal bytes alone say nothing: every vmcall has the same.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::cli {

enum class MatchRule { kSymbol, kOrder, kAddress };

// "symbol", "order", "address".
absl::string_view MatchRuleName(MatchRule rule);

struct SiteMatch {
  const v1::Site* before;
  const v1::Site* after;
  MatchRule rule;

  // "technique", "state", "stateReason", "traps", "calls", "cyclesPerCall": those that differ.
  std::vector<absl::string_view> Changes() const;
  // How much cheaper a call has become; none where either side has no figure.
  std::optional<double> TimesCheaper() const;
};

// Points into the ledgers it was made of. In the order of addresses.
struct LedgerDiff {
  std::vector<const v1::Site*> added, removed;
  std::vector<SiteMatch> changed;
  size_t unchanged = 0;

  bool empty() const { return added.empty() && removed.empty() && changed.empty(); }
};

LedgerDiff DiffLedgers(const v1::SiteLedger& before, const v1::SiteLedger& after);

}  // namespace trapline::cli

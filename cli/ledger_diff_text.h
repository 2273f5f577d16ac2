// SPDX-License-Identifier: Apache-2.0
// The difference of two ledgers as people and scripts read it.
#pragma once

#include <string>

#include "cli/ledger_diff.h"
#include "google/protobuf/struct.pb.h"

namespace trapline::cli {

// A ledger and where it comes from.
struct LedgerSource {
  bool file = false;  // otherwise a VM, as it is now
  std::string name;   // as it was asked for
  v1::SiteLedger ledger;
};

// Both sources, a line for each site that differs, and how many there are of which kind.
std::string DiffText(const LedgerSource& before, const LedgerSource& after, const LedgerDiff& diff,
                     bool colour);

// {before, after, added, removed, changed, unchanged}; the sites in it are the API's own.
google::protobuf::Struct DiffDocument(const LedgerSource& before, const LedgerSource& after,
                                      const LedgerDiff& diff);

}  // namespace trapline::cli

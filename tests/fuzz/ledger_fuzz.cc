// SPDX-License-Identifier: Apache-2.0
// Ledgers from anybody: JSON that may be none. What is taken is compared with itself and written
// out.
#include <cstdlib>
#include <string>

#include "cli/ledger_csv.h"
#include "cli/ledger_diff_text.h"
#include "cli/ledger_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trapline::cli;
  const absl::string_view json(reinterpret_cast<const char*>(data), size);
  const auto ledger = ParseLedger("input", json);
  if (!ledger.ok()) {
    if (ledger.status().message().empty()) std::abort();
    return 0;
  }
  for (const auto& site : ledger->sites()) {
    if (SiteCsvRow(site).find('\n') != SiteCsvRow(site).size() - 1) std::abort();
  }
  trapline::v1::SiteLedger none;
  none.mutable_vm()->set_name("vms/none");
  const LedgerSource all{true, "input", *ledger}, nothing{true, "none", none};
  const LedgerDiff added = DiffLedgers(none, *ledger), same = DiffLedgers(*ledger, *ledger);
  if (added.added.size() != static_cast<size_t>(ledger->sites_size()) || !same.changed.empty())
    std::abort();
  if (DiffText(nothing, all, added, false).empty()) std::abort();
  (void)DiffDocument(nothing, all, added);
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// A VM's ledger from the API to a document.
#include "cli/ledger_export.h"

#include "cli/ledger_calls.h"
#include "cli/ledger_csv.h"
#include "cli/ledger_file.h"

namespace trapline::cli {

absl::Status ExportLedger(Session& session, const std::string& vm, const Sink& sink) {
  const absl::StatusOr<v1::SiteLedger> head = LedgerHead(session, vm);
  if (!head.ok()) return head.status();
  LedgerWriter writer(sink);
  if (const absl::Status begun = writer.Begin(*head); !begun.ok()) return begun;
  const absl::Status sites =
      EachSite(session, vm, "", [&writer](const v1::Site& site) { return writer.Add(site); });
  if (!sites.ok()) return sites;
  const absl::StatusOr<uint64_t> lost = EachTransition(
      session, vm,
      [&writer](const v1::SiteTransition& transition) { return writer.Add(transition); });
  if (!lost.ok()) return lost.status();
  return writer.End(*lost);
}

absl::Status ExportSitesAsCsv(Session& session, const std::string& vm, const Sink& sink) {
  if (const absl::Status begun = sink(SiteCsvHeading()); !begun.ok()) return begun;
  return EachSite(session, vm, "",
                  [&sink](const v1::Site& site) { return sink(SiteCsvRow(site)); });
}

absl::Status ExportTransitionsAsCsv(Session& session, const std::string& vm, const Sink& sink) {
  if (const absl::Status begun = sink(TransitionCsvHeading()); !begun.ok()) return begun;
  return EachTransition(session, vm,
                        [&sink](const v1::SiteTransition& transition) {
                          return sink(TransitionCsvRow(transition));
                        })
      .status();
}

}  // namespace trapline::cli

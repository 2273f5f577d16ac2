// SPDX-License-Identifier: Apache-2.0
// A VM's ledger from the API to a document, without holding all of it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/session.h"
#include "cli/staged_file.h"

namespace trapline::cli {

// The document of ledger_file.h.
absl::Status ExportLedger(Session& session, const std::string& vm, const Sink& sink);

// The tables of ledger_csv.h.
absl::Status ExportSitesAsCsv(Session& session, const std::string& vm, const Sink& sink);
absl::Status ExportTransitionsAsCsv(Session& session, const std::string& vm, const Sink& sink);

}  // namespace trapline::cli

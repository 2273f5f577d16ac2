// SPDX-License-Identifier: Apache-2.0
// A VM's ledger over the API, page by page.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/session.h"

namespace trapline::cli {

// Each site once, in the order of addresses; sites that are found meanwhile may or may not be among
// them.
absl::Status EachSite(Session& session, const std::string& vm, const std::string& filter,
                      const std::function<absl::Status(const v1::Site&)>& take);

// The same as one response.
absl::StatusOr<v1::ListSitesResponse> ListSites(Session& session, const std::string& vm,
                                                const std::string& filter);

// Each transition on record, oldest first, of a VM or a site. How many of the VM's oldest had to
// make room.
absl::StatusOr<uint64_t> EachTransition(
    Session& session, const std::string& parent,
    const std::function<absl::Status(const v1::SiteTransition&)>& take);

// The last so many of them (0: all), as one response.
absl::StatusOr<v1::ListSiteTransitionsResponse> ListTransitions(Session& session,
                                                                const std::string& parent,
                                                                uint64_t last = 0);

// What a ledger says before its sites: the VM, the time, the daemon's version, the totals.
absl::StatusOr<v1::SiteLedger> LedgerHead(Session& session, const std::string& vm);

// All of it.
absl::StatusOr<v1::SiteLedger> GetLedger(Session& session, const std::string& vm);

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// Calls about sites that several commands make.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace trapline::cli {

// Over all pages.
absl::StatusOr<v1::ListSitesResponse> ListAllSites(Session& session, const std::string& vm,
                                                   const std::string& filter);

}  // namespace trapline::cli

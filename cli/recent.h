// SPDX-License-Identifier: Apache-2.0
// What a VM did lately, as far as the daemon still has it: console output and hypercalls.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/session.h"
#include "cli/staged_file.h"

namespace trapline::cli {

// NOT_FOUND where there is none: it has not been started, or has said nothing.
absl::StatusOr<std::string> RecentConsole(Session& session, const v1::Vm& vm);

// A JSON line each, those of a running VM up to now. NOT_FOUND where there is none.
absl::Status RecentHypercalls(Session& session, const v1::Vm& vm, const Sink& sink);

}  // namespace trapline::cli

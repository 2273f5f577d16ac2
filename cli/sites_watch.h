// SPDX-License-Identifier: Apache-2.0
// Sites as they change.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace trapline::cli {

enum class WatchLook {
  kRedraw,  // the whole table, again and again; lines where output is no terminal
  kLines,   // one line for each change
};

// Until Ctrl-C, or the end of the VM's watch. The exit code.
absl::StatusOr<int> WatchSites(Session& session, const std::string& vm, absl::Duration interval,
                               WatchLook look);

}  // namespace trapline::cli

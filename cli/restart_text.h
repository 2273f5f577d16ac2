// SPDX-License-Identifier: Apache-2.0
// Restart policies as people write and read them: "on-failure:3".
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli {

namespace v1 = ::trapline::v1;

// "never", "on-failure" or "always", the last two with ":N" for at most N restarts in a row.
absl::StatusOr<v1::RestartPolicy> ParseRestart(absl::string_view flag, absl::string_view text);

// "on failure, at most 3 in a row"; "" for never.
std::string RestartText(const v1::RestartPolicy& policy);

}  // namespace trapline::cli

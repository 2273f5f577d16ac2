// SPDX-License-Identifier: Apache-2.0
// Docker's spelling.
#include "cli/restart_text.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/status.h"

namespace trapline::cli {

absl::StatusOr<v1::RestartPolicy> ParseRestart(absl::string_view flag, absl::string_view text) {
  v1::RestartPolicy policy;
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  if (parts.first == "never" || parts.first == "no") {
    policy.set_when(v1::RestartPolicy::NEVER);
  } else if (parts.first == "on-failure") {
    policy.set_when(v1::RestartPolicy::ON_FAILURE);
  } else if (parts.first == "always") {
    policy.set_when(v1::RestartPolicy::ALWAYS);
  }
  uint32_t most = 0;
  const bool limited = text.size() != parts.first.size();
  const bool sound = !limited || (policy.when() != v1::RestartPolicy::NEVER &&
                                  absl::SimpleAtoi(parts.second, &most) && most > 0);
  if (policy.when() == v1::RestartPolicy::WHEN_UNSPECIFIED || !sound) {
    return UsageError(flag, absl::StrCat("'", text,
                                         "' is not never, on-failure[:N] or always[:N], N being "
                                         "the most restarts in a row"));
  }
  policy.set_max_restarts(most);
  return policy;
}

std::string RestartText(const v1::RestartPolicy& policy) {
  std::string text;
  if (policy.when() == v1::RestartPolicy::ON_FAILURE) text = "on failure";
  if (policy.when() == v1::RestartPolicy::ALWAYS) text = "always";
  if (!text.empty() && policy.max_restarts() != 0)
    absl::StrAppend(&text, ", at most ", policy.max_restarts(), " in a row");
  return text;
}

}  // namespace trapline::cli

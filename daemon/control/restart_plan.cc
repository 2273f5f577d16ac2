// SPDX-License-Identifier: Apache-2.0
// Counting and waiting.
#include "daemon/control/restart_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace trapline::daemon {
namespace {

constexpr absl::Duration kInitial = absl::Seconds(1), kMax = absl::Minutes(1),
                         kStable = absl::Minutes(1), kLongest = absl::Hours(24);

absl::Duration Or(bool set, const google::protobuf::Duration& value, absl::Duration otherwise) {
  return set ? absl::Seconds(value.seconds()) + absl::Nanoseconds(value.nanos()) : otherwise;
}
absl::Duration InitialOf(const v1::RestartPolicy& policy) {
  return Or(policy.has_initial_backoff(), policy.initial_backoff(), kInitial);
}
absl::Duration MaxOf(const v1::RestartPolicy& policy) {
  return Or(policy.has_max_backoff(), policy.max_backoff(), std::max(kMax, InitialOf(policy)));
}

// Doubled with each restart, up to the longest.
absl::Duration Backoff(const v1::RestartPolicy& policy, uint32_t restarts) {
  absl::Duration wait = InitialOf(policy);
  const absl::Duration longest = MaxOf(policy);
  for (uint32_t i = 0; i < restarts && wait < longest; ++i) wait *= 2;
  return std::min(wait, longest);
}

}  // namespace

std::optional<RestartPlan> PlanRestart(const v1::RestartPolicy& policy, const EndedRun& run) {
  const bool asked = policy.when() == v1::RestartPolicy::ALWAYS ||
                     (policy.when() == v1::RestartPolicy::ON_FAILURE && run.failed);
  if (!asked) return std::nullopt;
  RestartPlan plan{true, run.restarts, absl::ZeroDuration(), ""};
  if (run.took >= Or(policy.has_stable_after(), policy.stable_after(), kStable)) plan.restarts = 0;
  const uint32_t most = policy.max_restarts();
  if (most != 0 && plan.restarts >= most) {
    plan.restart = false;
    plan.reason = absl::StrCat("not started again: ", most, " restart", most == 1 ? "" : "s",
                               " in a row did not help");
    return plan;
  }
  plan.wait = Backoff(policy, plan.restarts);
  plan.reason =
      absl::StrCat("to be started again in ", absl::FormatDuration(plan.wait), " (restart ",
                   plan.restarts + 1, most == 0 ? "" : absl::StrCat(" of ", most), ")");
  return plan;
}

std::optional<RestartFault> CheckRestart(const v1::RestartPolicy& policy) {
  if (!v1::RestartPolicy::When_IsValid(policy.when()))
    return RestartFault{"when", "must be NEVER, ON_FAILURE or ALWAYS"};
  if (InitialOf(policy) < absl::Milliseconds(1) || InitialOf(policy) > kLongest)
    return RestartFault{"initial_backoff", "must be between a millisecond and a day"};
  if (MaxOf(policy) < InitialOf(policy) || MaxOf(policy) > kLongest)
    return RestartFault{"max_backoff", "must be between initial_backoff and a day"};
  const absl::Duration stable = Or(policy.has_stable_after(), policy.stable_after(), kStable);
  if (stable < absl::ZeroDuration() || stable > kLongest)
    return RestartFault{"stable_after", "must be between zero and a day"};
  return std::nullopt;
}

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// What a restart policy says of a run that has ended.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::daemon {

struct EndedRun {
  bool failed;          // or its guest ended with a status other than zero
  uint32_t restarts;    // in a row, before this run
  absl::Duration took;  // how long it ran
};

struct RestartPlan {
  bool restart;         // false: the policy gives up
  uint32_t restarts;    // in a row, before the next run
  absl::Duration wait;  // until then
  std::string reason;   // for people
};

// Nothing: the policy does not ask for another run.
std::optional<RestartPlan> PlanRestart(const v1::RestartPolicy& policy, const EndedRun& run);

// What is wrong with the policy, by its field; nothing where it is sound.
struct RestartFault {
  std::string field, description;
};
std::optional<RestartFault> CheckRestart(const v1::RestartPolicy& policy);

}  // namespace trapline::daemon

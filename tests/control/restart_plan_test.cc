// SPDX-License-Identifier: Apache-2.0
// Restart policies without a VM.
#include "daemon/control/restart_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trapline::daemon {
namespace {

v1::RestartPolicy OnFailure(uint32_t most) {
  v1::RestartPolicy policy;
  policy.set_when(v1::RestartPolicy::ON_FAILURE);
  policy.set_max_restarts(most);
  return policy;
}

TEST(RestartPlan, WaitsDoubleUpToTheLongest) {
  const v1::RestartPolicy policy = OnFailure(0);
  for (auto [restarts, seconds] :
       {std::pair{0u, 1}, {1u, 2}, {5u, 32}, {6u, 60}, {4000000000u, 60}})
    EXPECT_EQ(PlanRestart(policy, {true, restarts, absl::ZeroDuration()})->wait,
              absl::Seconds(seconds));
}

TEST(RestartPlan, GivesUpAfterTheMostUnlessARunLasted) {
  EXPECT_TRUE(PlanRestart(OnFailure(3), {true, 2, absl::ZeroDuration()})->restart);
  EXPECT_FALSE(PlanRestart(OnFailure(3), {true, 3, absl::Seconds(59)})->restart);
  const auto recovered = PlanRestart(OnFailure(3), {true, 3, absl::Seconds(60)});
  EXPECT_TRUE(recovered->restart);
  EXPECT_EQ(recovered->restarts, 0u);
}

TEST(RestartPlan, IsForWhatThePolicySays) {
  EXPECT_FALSE(PlanRestart(OnFailure(0), {false, 0, absl::ZeroDuration()}));
  EXPECT_FALSE(PlanRestart(v1::RestartPolicy(), {true, 0, absl::ZeroDuration()}));
  v1::RestartPolicy always = OnFailure(0);
  always.set_when(v1::RestartPolicy::ALWAYS);
  EXPECT_TRUE(PlanRestart(always, {false, 0, absl::ZeroDuration()}));
}

}  // namespace
}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// Callers have their places each for themselves, of either kind, and get them back.
#include "daemon/access/call_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace trapline::daemon {
namespace {

using Kind = CallLimits::Kind;
using ::testing::HasSubstr;

LimitsConfig Two() {
  LimitsConfig config;
  config.max_calls_per_caller = config.max_streams_per_caller = 2;
  return config;
}

TEST(CallLimits, APlaceIsFreeWhenItsCallIsOver) {
  CallLimits limits(Two());
  CallLimits::Place first, second, third;
  EXPECT_TRUE(limits.Enter("ann", Kind::kCall, &first).ok());
  EXPECT_TRUE(limits.Enter("ann", Kind::kCall, &second).ok());
  for (int again = 0; again < 3; ++again) {
    EXPECT_EQ(limits.Enter("ann", Kind::kCall, &third).error_code(), grpc::RESOURCE_EXHAUSTED);
    first = nullptr;
    EXPECT_TRUE(limits.Enter("ann", Kind::kCall, &first).ok());
  }
}

TEST(CallLimits, NobodyTakesAnothersPlaceAndNoStreamACalls) {
  CallLimits limits(Two());
  std::vector<CallLimits::Place> places(6);
  EXPECT_TRUE(limits.Enter("ann", Kind::kStream, &places[0]).ok());
  EXPECT_TRUE(limits.Enter("ann", Kind::kStream, &places[1]).ok());
  EXPECT_TRUE(limits.Enter("ann", Kind::kCall, &places[2]).ok());
  EXPECT_TRUE(limits.Enter("bob", Kind::kStream, &places[3]).ok());
  const grpc::Status refused = limits.Enter("ann", Kind::kStream, &places[4]);
  EXPECT_EQ(places[4], nullptr);
  EXPECT_EQ(refused.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("ann has 2 streams and waits under way"));
  EXPECT_TRUE(limits.Enter("bob", Kind::kStream, &places[5]).ok());
}

}  // namespace
}  // namespace trapline::daemon

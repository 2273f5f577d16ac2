// SPDX-License-Identifier: Apache-2.0
// The tokenizer that the check of dashboard and rules rests on.
#include "tests/metrics/promql_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trapline::metrics_test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(PromqlNames, AreThoseOfMetricsAlone) {
  EXPECT_THAT(MetricNames("up"), ElementsAre("up"));
  EXPECT_THAT(MetricNames("a_total{b=\"c\",d!~\"e|f\"} > 5"), ElementsAre("a_total"));
  EXPECT_THAT(MetricNames("sum by (x, y) (rate(a[5m])) / sum(rate(b{c=\"d\"}[5m]))"),
              ElementsAre("a", "b"));
  EXPECT_THAT(MetricNames("sum(a) by (x) > 0.9 * on (y) group_left (z) b"), ElementsAre("a", "b"));
  EXPECT_THAT(MetricNames("histogram_quantile(0.99, sum by (le) (rate(h_bucket[1e3s])))"),
              ElementsAre("h_bucket"));
  EXPECT_THAT(MetricNames("a and b or c unless d offset 5m"), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(MetricNames("time() - 1"), IsEmpty());
  EXPECT_THAT(MetricNames("topk(10, job:a:rate5m)"), ElementsAre("job:a:rate5m"));
}

}  // namespace
}  // namespace trapline::metrics_test

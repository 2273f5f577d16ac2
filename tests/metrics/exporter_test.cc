// SPDX-License-Identifier: Apache-2.0
// Where metrics are served, and where not.
#include "daemon/metrics/exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "daemon/metrics/families.h"
#include "tests/metrics/http.h"

namespace trapline::daemon {
namespace {

using ::testing::HasSubstr;

class OneGauge final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override {
    auto family = GaugeFamily("answer", "What it is.");
    AddValue(&family, {{"of", "all"}}, 42);
    return {family};
  }
};

TEST(MetricsAddress, WithoutAnAddressIsLoopback) {
  for (const char* text : {"9464", ":9464", "127.0.0.1:9464", "localhost:9464"}) {
    auto address = ParseMetricsAddress(text, false);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(address->host, "127.0.0.1");
    EXPECT_EQ(address->port, 9464);
  }
}

TEST(MetricsAddress, OtherMachinesComeInOnlyWhereThatIsSaid) {
  for (const char* text : {"0.0.0.0:1", "10.1.2.3:1", "128.0.0.1:1"}) {
    auto address = ParseMetricsAddress(text, false);
    EXPECT_TRUE(absl::IsInvalidArgument(address.status())) << text;
    EXPECT_THAT(address.status().message(), HasSubstr("--insecure-metrics"));
    EXPECT_TRUE(ParseMetricsAddress(text, true).ok()) << text;
  }
}

TEST(MetricsAddress, WhatIsNoneIsRefused) {
  for (const char* text : {"", ":", "x", "65536", "-1", "1.2.3:1", "host:1", "[::1]:1", "1,2",
                           "127.0.0.1:80s", "127.0.0.1"}) {
    auto address = ParseMetricsAddress(text, true);
    EXPECT_TRUE(absl::IsInvalidArgument(address.status())) << text;
    EXPECT_THAT(address.status().message(), HasSubstr("--metrics-listen")) << text;
  }
}

TEST(MetricsExporter, ServesMetricsAndNothingElse) {
  auto exporter = MetricsExporter::Start({"127.0.0.1", 0}, std::make_shared<OneGauge>());
  ASSERT_TRUE(exporter.ok()) << exporter.status();
  std::string base = absl::StrCat("http://127.0.0.1:", (*exporter)->port());
  metrics_test::HttpAnswer metrics = metrics_test::Get(base + "/metrics");
  EXPECT_EQ(metrics.code, 200);
  EXPECT_THAT(metrics.body, HasSubstr("# TYPE answer gauge\nanswer{of=\"all\"} 42\n"));
  for (const char* path : {"/", "/etc/passwd", "/../../etc/passwd", "/proc/self/environ"})
    EXPECT_EQ(metrics_test::Get(base + path).code, 404) << path;
}

TEST(MetricsExporter, APortInUseIsSaidToBe) {
  auto first = MetricsExporter::Start({"127.0.0.1", 0}, std::make_shared<OneGauge>());
  ASSERT_TRUE(first.ok()) << first.status();
  auto port = static_cast<uint16_t>((*first)->port());
  auto second = MetricsExporter::Start({"127.0.0.1", port}, std::make_shared<OneGauge>());
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  EXPECT_THAT(second.status().message(), HasSubstr("Address already in use"));
  EXPECT_THAT(second.status().message(), HasSubstr(absl::StrCat("127.0.0.1:", port)));
  auto elsewhere = MetricsExporter::Start({"192.0.2.1", 0}, std::make_shared<OneGauge>());
  EXPECT_THAT(elsewhere.status().message(), HasSubstr("Cannot assign requested address"));
}

}  // namespace
}  // namespace trapline::daemon

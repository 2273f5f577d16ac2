// SPDX-License-Identifier: Apache-2.0
// Restart policies on the command line.
#include "cli/restart_text.h"

#include "cli/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trapline::cli {
namespace {

TEST(RestartTextTest, IsReadAsDockerHasIt) {
  const v1::RestartPolicy limited = *ParseRestart("--restart", "on-failure:3");
  EXPECT_EQ(limited.when(), v1::RestartPolicy::ON_FAILURE);
  EXPECT_EQ(limited.max_restarts(), 3u);
  EXPECT_EQ(ParseRestart("--restart", "always")->when(), v1::RestartPolicy::ALWAYS);
  EXPECT_EQ(ParseRestart("--restart", "always")->max_restarts(), 0u);
  EXPECT_EQ(ParseRestart("--restart", "never")->when(), v1::RestartPolicy::NEVER);
}

TEST(RestartTextTest, WhatIsNoneIsRefused) {
  for (const char* text : {"", "sometimes", "on-failure:", "on-failure:0", "on-failure:-1",
                           "always:x", "never:3", "on-failure:3:4", ":3"}) {
    EXPECT_FALSE(ParseRestart("--restart", text).ok()) << text;
  }
  EXPECT_THAT(DescribeStatus(ParseRestart("--restart", "often").status()),
              ::testing::HasSubstr("on-failure[:N]"));
}

TEST(RestartTextTest, IsShown) {
  EXPECT_EQ(RestartText(*ParseRestart("--restart", "on-failure:3")),
            "on failure, at most 3 in a row");
  EXPECT_EQ(RestartText(*ParseRestart("--restart", "always")), "always");
  EXPECT_EQ(RestartText(v1::RestartPolicy()), "");
}

}  // namespace
}  // namespace trapline::cli

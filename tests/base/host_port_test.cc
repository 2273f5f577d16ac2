// SPDX-License-Identifier: Apache-2.0
// What is an address with a port, and what is not.
#include "core/base/host_port.h"

#include <gtest/gtest.h>

namespace trapline::base {
namespace {

TEST(HostPortTest, AreTakenApart) {
  struct {
    const char *text, *host;
    uint16_t port;
  } const kCases[] = {{"lab.example:7443", "lab.example", 7443},
                      {"127.0.0.1:0", "127.0.0.1", 0},
                      {"[::1]:65535", "::1", 65535},
                      {":80", "", 80}};
  for (const auto& [text, host, port] : kCases) {
    const auto parsed = ParseHostPort(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->host, host);
    EXPECT_EQ(parsed->port, port);
  }
}

TEST(HostPortTest, OthersAreNone) {
  for (const char* text :
       {"", "lab", "lab:", "80", "lab:65536", "lab:-1", "lab:+1", "lab: 1", "lab:1x", "lab:0x50",
        "lab:99999999999999999999", "::1:80", "[::1:80", "::1]:80", "[lab]:80", "[:80", "[]:80"}) {
    EXPECT_FALSE(ParseHostPort(text)) << text;
  }
}

}  // namespace
}  // namespace trapline::base

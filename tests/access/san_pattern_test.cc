// SPDX-License-Identifier: Apache-2.0
// Which certificates a pattern means.
#include "daemon/access/san_pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace trapline::daemon {
namespace {

bool Matches(const std::string& pattern, const std::string& kind, const std::string& name) {
  auto parsed = SanPattern::Parse(pattern);
  EXPECT_TRUE(parsed.ok()) << pattern;
  return parsed.ok() && parsed->Matches({kind, name});
}

TEST(SanPattern, WithoutAStarIsTheNameItself) {
  EXPECT_TRUE(Matches("dns:a.example", "dns", "a.example"));
  EXPECT_FALSE(Matches("dns:a.example", "dns", "a.example.org"));
  EXPECT_FALSE(Matches("dns:a.example", "dns", "b.a.example"));
  EXPECT_FALSE(Matches("dns:a.example", "uri", "a.example"));
  EXPECT_FALSE(Matches("dns:a.example", "dns", ""));
}

TEST(SanPattern, HostNamesHaveNoCaseAndOthersDo) {
  EXPECT_TRUE(Matches("dns:A.Example", "dns", "a.eXample"));
  EXPECT_FALSE(Matches("uri:spiffe://a/B", "uri", "spiffe://a/b"));
}

TEST(SanPattern, AStarIsOneOrMoreCharactersOfOnePart) {
  EXPECT_TRUE(Matches("dns:*.example", "dns", "a.example"));
  EXPECT_FALSE(Matches("dns:*.example", "dns", ".example"));
  EXPECT_FALSE(Matches("dns:*.example", "dns", "a.b.example"));
  EXPECT_TRUE(Matches("dns:ci-*.example", "dns", "ci-7.example"));
  EXPECT_FALSE(Matches("dns:ci-*.example", "dns", "ci-.example"));
  EXPECT_TRUE(Matches("uri:spiffe://a/*/op", "uri", "spiffe://a/x.y/op"));
  EXPECT_FALSE(Matches("uri:spiffe://a/*", "uri", "spiffe://a/b/c"));
  EXPECT_TRUE(Matches("email:*@example", "email", "ann@example"));
  EXPECT_FALSE(Matches("email:*@example", "email", "ann@evil@example"));
  EXPECT_FALSE(Matches("email:*", "email", "ann@example"));
}

TEST(SanPattern, SeveralStarsFindTheirPlaces) {
  EXPECT_TRUE(Matches("dns:a*b*.c", "dns", "axbbyb.c"));
  EXPECT_TRUE(Matches("dns:*-*.c", "dns", "x-y-z.c"));
  EXPECT_FALSE(Matches("dns:a*b*.c", "dns", "axb.c"));
  EXPECT_FALSE(Matches("dns:**", "dns", "x"));
}

TEST(SanPattern, AHostileNameTakesNoTime) {
  const std::string pattern = "uri:*a*a*a*a*a*a*a*a*a*a*b", name(1 << 20, 'a');
  EXPECT_FALSE(Matches(pattern, "uri", name));
}

TEST(SanPattern, OtherTextsAreRefused) {
  for (const char* bad : {"", "dns:", "a.example", "ip:1.2.3.4", "DNS:a", ":a"})
    EXPECT_FALSE(SanPattern::Parse(bad).ok()) << bad;
}

}  // namespace
}  // namespace trapline::daemon

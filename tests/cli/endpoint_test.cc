// SPDX-License-Identifier: Apache-2.0
// Which daemon a command talks to.
#include "cli/endpoint.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "cli/exit_code.h"
#include "cli/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/scratch.h"

namespace trapline::cli {
namespace {

using ::testing::HasSubstr;

constexpr char kContexts[] = R"(current = "lab"
[contexts.lab]
host = "lab.example:7443"
ca_cert = "/ca.pem"
cert = "/ann.pem"
key = "/ann.key"
[contexts.local]
host = "unix:///run/t.sock"
)";

absl::StatusOr<Endpoint> Choose(const std::string& host, const std::string& context = "",
                                const TlsFiles& tls = {}) {
  return ChooseEndpoint({host, context, tls});
}

class EndpointTest : public ::testing::Test {
 protected:
  EndpointTest() {
    setenv("TRAPLINE_CONFIG", file_.c_str(), 1);
    unsetenv("TRAPLINE_HOST");
    std::ofstream(file_) << kContexts;
  }
  ~EndpointTest() override {
    unsetenv("TRAPLINE_CONFIG");
    unsetenv("TRAPLINE_HOST");
  }

  const Scratch scratch_;
  const std::string directory_ = scratch_.path();
  const std::string file_ = scratch_ / "config.toml";
};

TEST_F(EndpointTest, TheCurrentContextIsTheDefault) {
  const auto endpoint = ChooseEndpoint({});
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ(endpoint->address.grpc_target, "lab.example:7443");
  EXPECT_EQ(endpoint->origin, "context lab");
  EXPECT_EQ(endpoint->tls.cert, "/ann.pem");
}

TEST_F(EndpointTest, AHostStandsAloneAndAContextThatIsAskedForComesFirst) {
  EXPECT_EQ(Choose("unix:///a")->address.unix_path, "/a");
  setenv("TRAPLINE_HOST", "unix:///b", 1);
  EXPECT_EQ(ChooseEndpoint({})->origin, "TRAPLINE_HOST");
  EXPECT_EQ(Choose("unix:///a")->address.unix_path, "/a");
  EXPECT_EQ(Choose("", "local")->address.unix_path, "/run/t.sock");
}

TEST_F(EndpointTest, FlagsReplaceWhatTheContextSays) {
  const auto endpoint = Choose("other.example:1", "lab", {"", "/bob.pem", ""});
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ(endpoint->address.grpc_target, "other.example:1");
  EXPECT_EQ(endpoint->tls.cert, "/bob.pem");
  EXPECT_EQ(endpoint->tls.ca_cert, "/ca.pem");
}

TEST_F(EndpointTest, AnotherMachineTakesCertificatesAndASocketNone) {
  const absl::Status bare = Choose("lab.example:1").status();
  EXPECT_EQ(ExitCodeFor(bare), kUsage);
  EXPECT_THAT(DescribeStatus(bare), HasSubstr("takes certificates"));
  const absl::Status half = Choose("lab.example:1", "", {"/c", "/d", ""}).status();
  EXPECT_THAT(DescribeStatus(half), HasSubstr("--key: is missing"));
  const absl::Status socket = Choose("unix:///a", "", {"", "/d", ""}).status();
  EXPECT_THAT(DescribeStatus(socket), HasSubstr("a Unix socket takes no certificates"));
  EXPECT_TRUE(Choose("localhost:7400").ok());
}

TEST_F(EndpointTest, AContextThatIsNotThereIsNamedWithThoseThatAre) {
  const absl::Status status = Choose("", "lob").status();
  EXPECT_EQ(ExitCodeFor(status), kNotFound);
  EXPECT_THAT(DescribeStatus(status), HasSubstr("there is no context lob in " + file_));
  EXPECT_THAT(DescribeStatus(status), HasSubstr("lab, local"));
}

TEST_F(EndpointTest, AFileOfCertificatesThatCannotBeReadIsNamed) {
  auto endpoint = ChooseEndpoint({});
  ASSERT_TRUE(endpoint.ok());
  endpoint->tls.ca_cert = directory_ + "/none.pem";
  EXPECT_THAT(DescribeStatus(CredentialsOf(*endpoint).status()),
              HasSubstr("--ca-cert " + directory_ + "/none.pem (context lab) cannot be read"));
  endpoint->tls.ca_cert = file_;
  EXPECT_THAT(DescribeStatus(CredentialsOf(*endpoint).status()), HasSubstr("not in PEM form"));
}

TEST_F(EndpointTest, ContextsAreWrittenAsTheyAreRead) {
  auto contexts = ParseContexts(kContexts, "t");
  ASSERT_TRUE(contexts.ok());
  const std::string text = FormatContexts(*contexts);
  auto again = ParseContexts(text, "t");
  ASSERT_TRUE(again.ok()) << again.status() << text;
  EXPECT_EQ(again->current, "lab");
  EXPECT_EQ(again->named.at("lab").tls.key, "/ann.key");
  EXPECT_EQ(again->named.at("local").host, "unix:///run/t.sock");
  EXPECT_TRUE(ParseContexts(FormatContexts({}), "t").ok());
}

TEST_F(EndpointTest, WhatIsWrongInTheFileIsSaidByLineAndKey) {
  const std::pair<const char*, const char*> wrong[] = {
      {"current = \"x\"", "t:1: current names \"x\""},
      {"[contexts.a]\ncert = \"/c\"", "contexts.a.host is missing"},
      {"[contexts.a]\nhost = \"h:1\"\ncrt = \"/c\"", "t:3: contexts.a.crt is not known here"},
      {"[contexts.a]\nhost = 1", "t:2: contexts.a.host has to be a text"},
      {"[contexts", "t:1: not TOML"}};
  for (const auto& [text, says] : wrong) {
    const absl::Status status = ParseContexts(text, "t").status();
    EXPECT_EQ(ExitCodeFor(status), kUsage) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
  }
}

TEST_F(EndpointTest, WithoutAFileThereAreNone) {
  std::filesystem::remove(file_);
  EXPECT_EQ(ExitCodeFor(ChooseEndpoint({}).status()), kNotFound) << "the variable names it";
  unsetenv("TRAPLINE_CONFIG");
  setenv("XDG_CONFIG_HOME", directory_.c_str(), 1);
  const auto endpoint = ChooseEndpoint({});
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ(endpoint->origin, "");
  unsetenv("XDG_CONFIG_HOME");
}

}  // namespace
}  // namespace trapline::cli

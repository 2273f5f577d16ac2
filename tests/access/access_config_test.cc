// SPDX-License-Identifier: Apache-2.0
// What a configuration means, and that everything wrong with one is said by file, line and key.
#include "daemon/access/access_config.h"
#include "tests/common/scratch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace trapline::daemon {
namespace {

using ::testing::HasSubstr;

AccessConfig Parsed(const std::string& text) {
  auto config = ParseAccessConfig(text, "t.toml");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : AccessConfig{};
}

TEST(AccessConfig, AnEmptyFileIsThatOfASingleUser) {
  const AccessConfig config = Parsed("");
  for (const auto& [role, grant] : config.grants) {
    EXPECT_TRUE(grant.users.empty());
    EXPECT_TRUE(grant.groups.empty());
    EXPECT_TRUE(grant.sans.empty());
  }
  EXPECT_EQ(config.socket.mode, 0600u);
  EXPECT_TRUE(config.tls.certificate.empty());
  EXPECT_FALSE(config.image_directories);
}

TEST(AccessConfig, UsersAndGroupsHaveNamesOrNumbers) {
  const AccessConfig config =
      Parsed("[access.viewer]\nusers = [\"root\", 1001, \"1002\"]\ngroups = [\"root\", 7]\n");
  const Grant& viewer = config.grants.at(v1::ROLE_VIEWER);
  EXPECT_EQ(viewer.users, (std::set<uid_t>{0, 1001, 1002}));
  EXPECT_EQ(viewer.groups, (std::set<gid_t>{0, 7}));
}

TEST(AccessConfig, ASocketThatHasAGroupIsOpenToIt) {
  EXPECT_EQ(Parsed("[socket]\ngroup = \"root\"\n").socket.mode, 0660u);
  EXPECT_EQ(Parsed("[socket]\ngroup = \"root\"\nmode = \"0600\"\n").socket.mode, 0600u);
}

TEST(AccessConfig, AListOfNoDirectoriesAllowsNone) {
  const AccessConfig config = Parsed("[images]\ndirectories = []\n");
  ASSERT_TRUE(config.image_directories);
  EXPECT_TRUE(config.image_directories->empty());
}

TEST(AccessConfig, ImageDirectoriesAreComparedByWhatTheirLinksLeadTo) {
  const Scratch scratch;
  const std::filesystem::path directory = scratch.path();
  std::filesystem::create_directory(directory / "real");
  std::filesystem::create_directory_symlink(directory / "real", directory / "link");
  const AccessConfig config =
      Parsed("[images]\ndirectories = [\"" + (directory / "link").string() + "\"]\n");
  EXPECT_THAT(*config.image_directories, ::testing::ElementsAre((directory / "real").string()));
}

TEST(AccessConfig, LimitsThatAreLeftOutHaveTheirDefaults) {
  const LimitsConfig limits = Parsed("[limits]\nkeepalive_seconds = 7\n").limits;
  EXPECT_EQ(limits.keepalive_seconds, 7u);
  EXPECT_EQ(limits.max_calls_per_caller, LimitsConfig().max_calls_per_caller);
  EXPECT_EQ(limits.max_streams_per_caller, LimitsConfig().max_streams_per_caller);
}

TEST(AccessConfig, TheExampleIsOne) {
  auto config = LoadAccessConfig(TRAPLINE_DEPLOY_DIR "/traplined.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->grants.at(v1::ROLE_VIEWER).sans.size(), 2u);
  EXPECT_EQ(config->socket.mode, 0666u);
  EXPECT_EQ(config->audit.file, "/var/log/trapline/audit.log");
}

TEST(AccessConfig, AFileThatCannotBeReadIsNamed) {
  const absl::Status none = LoadAccessConfig("/no/such/file.toml").status();
  EXPECT_EQ(none.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(none.message()), HasSubstr("/no/such/file.toml"));
  EXPECT_FALSE(LoadAccessConfig("/").ok());
  EXPECT_FALSE(LoadAccessConfig("/dev/zero").ok());
}

struct Wrong {
  const char *text, *says;
};

class AccessConfigErrors : public ::testing::TestWithParam<Wrong> {};

TEST_P(AccessConfigErrors, NameTheLineAndTheKey) {
  const absl::Status status = ParseAccessConfig(GetParam().text, "t.toml").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    All, AccessConfigErrors,
    ::testing::Values(
        Wrong{"[access", "t.toml:1: not TOML"}, Wrong{"a = 1\na = 2", "t.toml:2: not TOML"},
        Wrong{"[acces.viewer]", "acces is not known here"},
        Wrong{"[access.viewers]", "access.viewers is not known here"},
        Wrong{"[access.viewer]\nuser = [1]", "t.toml:2: access.viewer.user is not known here"},
        Wrong{"[access.viewer]\nusers = 1", "t.toml:2: access.viewer.users has to be a list"},
        Wrong{"[access.viewer]\nusers = [1.5]", "access.viewer.users has to be a list of texts or"},
        Wrong{"[access.viewer]\nusers = [\"no-such\"]", "\"no-such\", which is no user of this"},
        Wrong{"[access.viewer]\nusers = [-1]", "\"-1\", which is no user"},
        Wrong{"[access.viewer]\nusers = [4294967295]", "\"4294967295\", which is no user"},
        Wrong{"[access.viewer]\nusers = [4294967296]", "\"4294967296\", which is no user"},
        Wrong{"[access.admin]\ngroups = [\"no-such\"]", "\"no-such\", which is no group of this"},
        Wrong{"[access.admin]\nsans = [\"admin\"]",
              "access.admin.sans \"admin\" is not of the form"},
        Wrong{"access = 1", "access has to be a table"},
        Wrong{"[socket]\nmode = \"0680\"", "t.toml:2: socket.mode \"0680\" is not a mode"},
        Wrong{"[socket]\nmode = 660", "socket.mode has to be a text"},
        Wrong{"[socket]\nmode = \"1777\"", "is not a mode"},
        Wrong{"[socket]\nmax_users = 0",
              "socket.max_users has to be a whole number from 1 to 1024"},
        Wrong{"[tls]\ncertificate = \"/c\"\nkey = \"/k\"", "tls.client_ca is missing"},
        Wrong{"[tls]\ncertificate = \"c\"", "tls.certificate \"c\" is not an absolute path"},
        Wrong{"[tls]", "tls.certificate is missing"},
        Wrong{"[audit]\nfile = \"log\"", "audit.file \"log\" is not an absolute path"},
        Wrong{"[limits]\nmax_calls_per_caller = 0",
              "limits.max_calls_per_caller has to be a whole number from 1 to 512"},
        Wrong{"[limits]\nmax_calls = 1", "t.toml:2: limits.max_calls is not known here"},
        Wrong{"[images]\ndirectories = [\"/no/such\"]", "images.directories names \"/no/such\""},
        Wrong{"[images]\ndirectories = [\"\"]", "which is not the absolute path of a directory"},
        Wrong{"[images]\ndirectories = [\".\"]", "which is not the absolute path of a directory"},
        Wrong{"[images]\ndirectories = [\"/etc/passwd\"]", "of a directory"}));

}  // namespace
}  // namespace trapline::daemon

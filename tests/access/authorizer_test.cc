// SPDX-License-Identifier: Apache-2.0
// From identities to roles, and from roles to answers.
#include "daemon/access/authorizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/base/unique_fd.h"
#include "tests/common/error_info.h"
#include "tests/common/scratch.h"
#include "trapline/v1/vms.pb.h"
#include "trapline/worker/v1/worker.pb.h"

namespace trapline::daemon {
namespace {

using ::testing::HasSubstr;

Authorizer Configured(const std::string& text) {
  auto config = ParseAccessConfig(text, "t.toml");
  EXPECT_TRUE(config.ok()) << config.status();
  return Authorizer(*config);
}

const google::protobuf::MethodDescriptor& Method(const char* name) {
  return *v1::Vm::descriptor()->file()->FindServiceByName("Vms")->FindMethodByName(name);
}

constexpr uid_t kNobodys = 54321;  // above what this machine gives out, and not ours

TEST(Authorizer, LetsInRootAndItselfAloneByDefault) {
  const Authorizer authorizer{AccessConfig{}};
  EXPECT_EQ(authorizer.Identify(Peer{0, {}}).role, v1::ROLE_ADMIN);
  EXPECT_EQ(authorizer.Identify(Peer{geteuid(), {}}).role, v1::ROLE_ADMIN);
  EXPECT_EQ(authorizer.Identify(Peer{kNobodys, {0}}).role, v1::ROLE_UNSPECIFIED);
  EXPECT_EQ(authorizer.Identify({San{"dns", "localhost"}}).role, v1::ROLE_UNSPECIFIED);
  EXPECT_EQ(authorizer.Identify(std::vector<San>{}).role, v1::ROLE_UNSPECIFIED);
}

TEST(Authorizer, GivesTheHighestRoleOfUserAndGroups) {
  const Authorizer authorizer = Configured(
      "[access.viewer]\nusers = [54321]\ngroups = [700]\n"
      "[access.operator]\ngroups = [701]\n[access.admin]\ngroups = [702]\n");
  EXPECT_EQ(authorizer.Identify(Peer{kNobodys, {5}}).role, v1::ROLE_VIEWER);
  EXPECT_EQ(authorizer.Identify(Peer{kNobodys + 1, {5, 700}}).role, v1::ROLE_VIEWER);
  EXPECT_EQ(authorizer.Identify(Peer{kNobodys, {700, 701}}).role, v1::ROLE_OPERATOR);
  EXPECT_EQ(authorizer.Identify(Peer{kNobodys, {702, 701}}).role, v1::ROLE_ADMIN);
  EXPECT_EQ(authorizer.Identify(Peer{kNobodys + 1, {5}}).role, v1::ROLE_UNSPECIFIED);
}

TEST(Authorizer, GivesTheHighestRoleOfACertificatesNames) {
  const Authorizer authorizer = Configured(
      "[access.viewer]\nsans = [\"dns:*.v.example\"]\n[access.operator]\nsans = [\"uri:x:/op\"]\n");
  EXPECT_EQ(authorizer.Identify({San{"dns", "a.v.example"}}).role, v1::ROLE_VIEWER);
  const Caller both = authorizer.Identify({San{"dns", "a.v.example"}, San{"uri", "x:/op"}});
  EXPECT_EQ(both.role, v1::ROLE_OPERATOR);
  EXPECT_EQ(both.who, "certificate dns:a.v.example, uri:x:/op");
  EXPECT_EQ(authorizer.Identify({San{"email", "x:/op"}}).role, v1::ROLE_UNSPECIFIED);
}

TEST(Authorizer, SaysWhichRoleIsMissing) {
  const Authorizer authorizer{AccessConfig{}};
  const Caller viewer{"user 1001 (bob)", v1::ROLE_VIEWER};
  EXPECT_TRUE(authorizer.Check(viewer, Method("GetVm")).ok());
  const grpc::Status denied = authorizer.Check(viewer, Method("StopVm"));
  EXPECT_EQ(denied.error_code(), grpc::PERMISSION_DENIED);
  EXPECT_EQ(denied.error_message(),
            "trapline.v1.Vms/StopVm needs the role operator; user 1001 (bob) has viewer");
  EXPECT_EQ(InfoOf(denied).reason(), "ROLE_REQUIRED");
  EXPECT_EQ(InfoOf(denied).metadata().at("required_role"), "operator");
  EXPECT_EQ(InfoOf(denied).metadata().at("role"), "viewer");
}

TEST(Authorizer, DeniesWhoIsNotKnown) {
  const Authorizer authorizer{AccessConfig{}};
  EXPECT_EQ(authorizer.Check({}, Method("GetVm")).error_code(), grpc::PERMISSION_DENIED);
}

TEST(Authorizer, DeniesWhatDeclaresNoRole) {
  // The workers' own service is no part of the API.
  const auto& undeclared =
      *worker::v1::CreateRequest::descriptor()->file()->FindServiceByName("Worker")->method(0);
  const Authorizer authorizer{AccessConfig{}};
  EXPECT_EQ(authorizer.Check({"root", v1::ROLE_ADMIN}, undeclared).error_code(),
            grpc::PERMISSION_DENIED);
}

TEST(PeerOf, ReadsWhatTheKernelKnows) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const base::UniqueFd here(pair[0]), there(pair[1]);
  const auto peer = PeerOf(here.get());
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ(peer->uid, geteuid());
  EXPECT_THAT(peer->groups, ::testing::Contains(getegid()));
}

class Images : public ::testing::Test {
 protected:
  Images() {
    for (const char* inner : {"allowed", "allowed/deep", "allowed-not"})
      std::filesystem::create_directory(directory_ / inner);
    for (const char* file : {"allowed/a", "allowed/deep/b", "allowed-not/c"})
      std::ofstream(directory_ / file) << "x";
    std::filesystem::create_symlink("../allowed-not/c", directory_ / "allowed/out");
    std::filesystem::create_symlink("deep/b", directory_ / "allowed/in");
    std::filesystem::create_symlink("allowed/a", directory_ / "inward");
  }

  // What becomes of a path; empty where it is denied.
  std::string Confined(const std::string& file, v1::Role role = v1::ROLE_OPERATOR) {
    const Authorizer authorizer =
        Configured("[images]\ndirectories = [\"" + (directory_ / "allowed").string() + "\"]\n");
    std::string path = (directory_ / file).string();
    status_ = authorizer.ConfineImage({"user 1", role}, "kernel_path", &path);
    if (!status_.ok()) return "";
    return path.substr(directory_.string().size() + 1);
  }

  const Scratch scratch_;
  const std::filesystem::path directory_ = scratch_.path();
  grpc::Status status_;
};

TEST_F(Images, LieBeneathTheDirectories) {
  EXPECT_EQ(Confined("allowed/a"), "allowed/a");
  EXPECT_EQ(Confined("allowed/deep/../a"), "allowed/a");
  EXPECT_EQ(Confined("allowed/in"), "allowed/deep/b");
  EXPECT_EQ(Confined("inward"), "allowed/a");
}

TEST_F(Images, ThatLieElsewhereAreDeniedAsThoseThatDoNotExist) {
  for (const char* file :
       {"allowed-not/c", "allowed/out", "allowed/../allowed-not/c", "allowed/none", "none/none"}) {
    EXPECT_EQ(Confined(file), "") << file;
    EXPECT_EQ(status_.error_code(), grpc::PERMISSION_DENIED) << file;
    EXPECT_THAT(status_.error_message(), HasSubstr("only an admin may use others"));
    EXPECT_EQ(InfoOf(status_).reason(), "IMAGE_NOT_ALLOWED");
  }
}

TEST_F(Images, OfAnAdminComeFromAnywhere) {
  EXPECT_EQ(Confined("allowed/out", v1::ROLE_ADMIN), "allowed/out");
  EXPECT_EQ(Confined("none/none", v1::ROLE_ADMIN), "none/none");
}

TEST_F(Images, AreNotConfinedWhereNothingSaysSo) {
  std::string path = "/etc/passwd";
  EXPECT_TRUE(Authorizer{AccessConfig{}}
                  .ConfineImage({"user 1", v1::ROLE_OPERATOR}, "kernel_path", &path)
                  .ok());
}

}  // namespace
}  // namespace trapline::daemon

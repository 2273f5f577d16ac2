// SPDX-License-Identifier: Apache-2.0
// The audit log's lines and files.
#include "daemon/access/audit_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "daemon/access/audit_calls.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "tests/common/scratch.h"
#include "trapline/v1/sites.pb.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::daemon {
namespace {

class Audit : public ::testing::Test {
 protected:
  Audit() { config_.file = directory_ / "audit.log"; }

  std::vector<google::protobuf::Struct> Lines() const {
    std::vector<google::protobuf::Struct> lines;
    std::ifstream file(config_.file);
    for (std::string line; std::getline(file, line);) {
      EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(line, &lines.emplace_back()).ok())
          << line;
    }
    return lines;
  }
  static std::string Text(const google::protobuf::Struct& line, const std::string& field) {
    return line.fields().at(field).string_value();
  }

  const Scratch scratch_;
  const std::filesystem::path directory_ = scratch_.path();
  AuditConfig config_;
};

TEST_F(Audit, ALineSaysWhoDidWhatToWhichVmAndWhatCameOfIt) {
  auto log = AuditLog::Open(config_);
  ASSERT_TRUE(log.ok()) << log.status();
  (*log)->Write({{"user 1001 (bob)", v1::ROLE_VIEWER},
                 "trapline.v1.Sites/RevertSite",
                 "vms/a/sites/0x1000",
                 "PERMISSION_DENIED",
                 "ROLE_REQUIRED",
                 "no\n\"way\""});
  const auto lines = Lines();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(Text(lines[0], "who"), "user 1001 (bob)");
  EXPECT_EQ(Text(lines[0], "role"), "viewer");
  EXPECT_EQ(Text(lines[0], "method"), "trapline.v1.Sites/RevertSite");
  EXPECT_EQ(Text(lines[0], "vm"), "a");
  EXPECT_EQ(Text(lines[0], "resource"), "vms/a/sites/0x1000");
  EXPECT_EQ(Text(lines[0], "code"), "PERMISSION_DENIED");
  EXPECT_EQ(Text(lines[0], "reason"), "ROLE_REQUIRED");
  EXPECT_EQ(Text(lines[0], "message"), "no\n\"way\"");
  EXPECT_THAT(Text(lines[0], "time"), ::testing::MatchesRegex("....-..-..T..:..:......*Z"));
}

TEST_F(Audit, WhatClientsChooseDoesNotFillIt) {
  auto log = AuditLog::Open(config_);
  ASSERT_TRUE(log.ok());
  std::string endless = "vms/";
  while (endless.size() < 1 << 20) endless += "\xc3\xa9";  // cut between characters
  (*log)->Write({{}, "m", endless, "OK", "", endless});
  EXPECT_LT(std::filesystem::file_size(config_.file), 4096u);
  EXPECT_EQ(Lines().size(), 1u);
}

TEST_F(Audit, FilesAreTheOwnersAndAsManyAndAsLargeAsConfigured) {
  config_.max_bytes = 1024;
  config_.max_files = 2;
  auto log = AuditLog::Open(config_);
  ASSERT_TRUE(log.ok());
  for (int i = 0; i < 100; ++i)
    (*log)->Write({{"user 0 (root)", v1::ROLE_ADMIN}, "m", "vms/a", "OK", "", ""});
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    struct stat status;
    ASSERT_EQ(stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u) << entry.path();
    EXPECT_LE(entry.file_size(), 1024u);
    ++files;
  }
  EXPECT_EQ(files, 3u);
}

TEST_F(Audit, AFileThatCannotBeWrittenIsNamed) {
  config_.file = directory_;
  const absl::Status status = AuditLog::Open(config_).status();
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(directory_.string()));
}

TEST(ResourceOf, IsWhatTheRequestNames) {
  v1::StopVmRequest stop;
  stop.set_name("vms/a");
  EXPECT_EQ(ResourceOf(stop), "vms/a");
  v1::ListSitesRequest sites;
  sites.set_parent("vms/b");
  EXPECT_EQ(ResourceOf(sites), "vms/b");
  v1::CreateVmRequest create;
  create.set_vm_id("c");
  EXPECT_EQ(ResourceOf(create), "vms/c");
  EXPECT_EQ(ResourceOf(v1::ListVmsRequest()), "");
}

}  // namespace
}  // namespace trapline::daemon

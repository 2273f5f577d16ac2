// SPDX-License-Identifier: Apache-2.0
// Files that are opened before they go out of sight.
#include "daemon/vmm/opened_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace trapline::daemon {
namespace {

TEST(OpenedFilesTest, EachIsTakenOnceAndWhatFailedSaysWhy) {
  char name[] = "/tmp/trapline-file-XXXXXX";
  close(mkstemp(name));
  OpenedFiles files({name, name, "/no/such/file"});
  std::filesystem::remove(name);
  EXPECT_TRUE(files.Take(name).ok());
  EXPECT_TRUE(files.Take(name).ok());
  EXPECT_THAT(std::string(files.Take(name).status().message()), ::testing::HasSubstr("not among"));
  auto missing = files.Take("/no/such/file");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(missing.status().message(), "/no/such/file: No such file or directory");
  EXPECT_EQ(files.Take("/etc/passwd").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// Files that are opened before they go out of sight.
#include "daemon/vmm/opened_files.h"
#include "tests/common/scratch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

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

TEST(OpenedFilesTest, NoLinkIsFollowedToAPathThatHasBeenLookedAt) {
  const Scratch scratch;
  const std::filesystem::path directory = scratch.path();
  std::filesystem::create_directory(directory / "in");
  std::ofstream(directory / "in/file") << "x";
  std::filesystem::create_symlink("file", directory / "in/link");
  std::filesystem::create_symlink("in", directory / "way");
  const std::string file = directory / "in/file", link = directory / "in/link",
                    way = directory / "way/file";
  OpenedFiles followed({link, way});
  OpenedFiles looked_at({"nolinks:" + file, "nolinks:" + link, "nolinks:" + way});
  EXPECT_TRUE(followed.Take(link).ok());
  EXPECT_TRUE(followed.Take(way).ok());
  EXPECT_TRUE(looked_at.Take(file).ok());
  for (const std::string& refused : {link, way}) {
    const auto taken = looked_at.Take(refused);
    EXPECT_EQ(taken.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(taken.status().message()), ::testing::HasSubstr("a link leads there"));
  }
}

}  // namespace
}  // namespace trapline::daemon

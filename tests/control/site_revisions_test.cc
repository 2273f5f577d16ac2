// SPDX-License-Identifier: Apache-2.0
// Revisions over daemons, stats files, and a file system without room.
#include "daemon/control/site_revisions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/hypercall/stats_layout.h"
#include "tests/common/scratch.h"

namespace trapline::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::unique_ptr<SiteRevisions> Open(const std::string& path, uint64_t made = 1) {
  auto opened = SiteRevisions::Open(path, made);
  EXPECT_TRUE(opened.ok()) << opened.status();
  return *std::move(opened);
}

TEST(SiteRevisions, GoOnWithTheNextDaemon) {
  Scratch scratch;
  auto first = Open(scratch / "revisions");
  ASSERT_TRUE(first->Take({{2, 10}, {2, 20}}).ok());
  const uint64_t known = first->revision(), life = first->life();
  ASSERT_TRUE(first->Take({{2, 10}, {2, 21}}).ok());
  first = nullptr;
  auto next = Open(scratch / "revisions");
  EXPECT_EQ(next->life(), life);
  EXPECT_THAT(next->ChangedSince(known), ElementsAre(1));
  ASSERT_TRUE(next->Take({{2, 11}, {2, 21}, {2, 0}}).ok());
  EXPECT_THAT(next->ChangedSince(known), ElementsAre(0, 1, 2));
  EXPECT_THAT(next->ChangedSince(next->revision()), IsEmpty());
}

TEST(SiteRevisions, BeginAgainWithAnotherStatsFile) {
  Scratch scratch;
  auto first = Open(scratch / "revisions", 1);
  ASSERT_TRUE(first->Take({{2, 10}}).ok());
  const uint64_t life = first->life();
  first = nullptr;
  auto next = Open(scratch / "revisions", 2);
  EXPECT_NE(next->life(), life);
  EXPECT_EQ(next->revision(), 0u);
  EXPECT_THAT(next->ChangedSince(0), IsEmpty());
}

TEST(SiteRevisions, AreInMemoryWhereNoFileCanBeHad) {
  auto revisions = Open("/proc/no/such/place");
  ASSERT_TRUE(revisions->Take(std::vector<hypercall::SiteActivity>(100'000, {2, 1})).ok());
  EXPECT_EQ(revisions->ChangedSince(0).size(), 100'000u);
  EXPECT_THAT(revisions->ChangedSince(revisions->revision()), IsEmpty());
}

TEST(SiteRevisions, AFileThatIsCutShortEndsNothing) {
  Scratch scratch;
  auto revisions = Open(scratch / "revisions");
  ASSERT_EQ(truncate((scratch / "revisions").c_str(), 0), 0);
  EXPECT_TRUE(revisions->Take({{2, 10}}).ok());
  revisions = nullptr;
  EXPECT_TRUE(Open(scratch / "revisions")->Take({{2, 10}}).ok());
}

}  // namespace
}  // namespace trapline::daemon

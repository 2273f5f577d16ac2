// SPDX-License-Identifier: Apache-2.0
// `trapline sites` on a guest that calls without end from one site.
#include <signal.h>

#include <string>

#include "gmock/gmock.h"
#include "tests/cli/with_daemon.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::cli_test {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class Sites : public WithDaemon {
 protected:
  Sites() {
    Start("loop", "loop");
    AwaitState(v1::Site::LINKED);
    gpa_ = Well({"sites", "ls", "loop", "-o", "name"});
    gpa_.erase(gpa_.find('\n'));
  }
  v1::Site Site() {
    auto list = Json<v1::ListSitesResponse>({"sites", "ls", "loop"});
    return list.sites().empty() ? v1::Site() : list.sites(0);
  }
  void AwaitState(v1::Site::State state) {
    while (Site().state() != state) {
    }
  }
  std::string gpa_;
};

TEST_F(Sites, AreATableOfBytesStateAndCounts) {
  EXPECT_THAT(gpa_, StartsWith("0x"));
  const std::string table = Well({"sites", "ls", "loop"});
  EXPECT_THAT(table, HasSubstr("TRAPS"));
  EXPECT_THAT(table, HasSubstr(gpa_));
  EXPECT_THAT(table, HasSubstr("loop_site"));
  EXPECT_THAT(table, HasSubstr("0f 01 c1 -> cd 1f 90"));
  EXPECT_THAT(table, HasSubstr("ping"));
}

TEST_F(Sites, AreShownWhole) {
  const std::string text = Well({"sites", "show", "loop", gpa_});
  EXPECT_THAT(text, HasSubstr("State:            linked"));
  EXPECT_THAT(text, HasSubstr("Original bytes:   0f 01 c1"));
  EXPECT_THAT(text, HasSubstr("Bytes now:        cd 1f 90"));
  EXPECT_THAT(text, HasSubstr("linked: "));
  EXPECT_EQ(Json<v1::Site>({"sites", "show", "loop", gpa_}).state(), v1::Site::LINKED);
}

TEST_F(Sites, HaveTheirCodeShownOnBothSides) {
  const std::string text = Well({"sites", "code", "loop", gpa_, "--before", "2", "--after", "1"});
  EXPECT_THAT(text, HasSubstr("0f 01 c1        vmcall"));
  EXPECT_THAT(text, HasSubstr("cd 1f           int 0x1F"));
  EXPECT_THAT(text, HasSubstr("jmp again"));
  EXPECT_THAT(text, HasSubstr("loop_site:"));
  const auto code =
      Json<v1::SiteCode>({"sites", "code", "loop", gpa_, "--before", "2", "--after", "1"});
  EXPECT_EQ(code.lines_size(), 2 + 2 + 1);
  EXPECT_EQ(code.trampolines_size(), 0);
  EXPECT_EQ(daemon_.Run({"sites", "code", "loop", gpa_, "--before", "101"}).code, 2);
  EXPECT_EQ(daemon_.Run({"sites", "code", "loop", "0xfff000"}).code, 3);
}

TEST_F(Sites, AreRevertedOnce) {
  EXPECT_EQ(Json<v1::Site>({"sites", "revert", "loop", gpa_}).state(), v1::Site::REVERTED);
  const Result again = daemon_.Run({"sites", "revert", "loop", gpa_});
  EXPECT_EQ(again.code, 4);
  EXPECT_THAT(again.err, HasSubstr("it is reverted"));
  const uint64_t traps = Site().traps();
  while (Site().traps() == traps) {
  }
  EXPECT_EQ(Site().state(), v1::Site::REVERTED);
}

TEST_F(Sites, FollowAPolicyOfTheirOwnAndTheVmsAgain) {
  EXPECT_THAT(Well({"sites", "set", "loop", gpa_, "--technique", "emulate"}), HasSubstr("emulate"));
  EXPECT_EQ(Site().state(), v1::Site::PINNED);
  EXPECT_THAT(Well({"sites", "set", "loop", gpa_, "--inherit"}), HasSubstr("linked"));
  AwaitState(v1::Site::LINKED);
}

TEST_F(Sites, FollowTheVmsPolicy) {
  Well({"sites", "set", "loop", "--technique", "interrupt"});
  EXPECT_EQ(Site().state(), v1::Site::PATCHED);
  Well({"sites", "set", "loop", "--technique", "linked", "--link-after", "1"});
  AwaitState(v1::Site::LINKED);
}

TEST_F(Sites, HaveTheirCountersReset) {
  Well({"vm", "pause", "loop"});
  ASSERT_GT(Site().fast_calls(), 0u);
  Well({"sites", "reset", "loop", gpa_});
  EXPECT_EQ(Site().fast_calls(), 0u);
  Well({"vm", "resume", "loop"});
  while (Site().fast_calls() == 0) {
  }
  Well({"sites", "reset", "loop"});
  EXPECT_EQ(Site().traps(), 0u);
}

TEST_F(Sites, AreWatchedUntilCtrlC) {
  Process watch(daemon_.Command({"sites", "watch", "loop", "--interval", "100ms"}),
                daemon_.environment());
  ASSERT_TRUE(watch.ReadUntil("linked")) << watch.err();
  Well({"sites", "revert", "loop", gpa_});
  ASSERT_TRUE(watch.ReadUntil("reverted")) << watch.out();
  ASSERT_TRUE(watch.ReadUntil("(reverted on request)")) << watch.out();
  watch.Signal(SIGINT);
  EXPECT_EQ(watch.Wait(), 0) << watch.err();
}

TEST_F(Sites, AreWatchedAsJsonLines) {
  Process watch(daemon_.Command({"sites", "watch", "loop", "-o", "json"}), daemon_.environment());
  ASSERT_TRUE(watch.ReadUntil("\n")) << watch.err();
  v1::WatchSitesResponse first;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(
                  watch.out().substr(0, watch.out().find('\n')), &first)
                  .ok());
  ASSERT_EQ(first.sites_size(), 1);
  EXPECT_EQ(first.sites(0).symbol(), "loop_site");
}

TEST_F(Sites, AreRedrawnOnATerminal) {
  Process watch(daemon_.Command({"sites", "ls", "loop", "--watch"}), daemon_.environment(),
                Process::Stdio::kTerminal);
  ASSERT_TRUE(watch.ReadUntil("\033[2J")) << watch.out();
  ASSERT_TRUE(watch.ReadUntil("loop_site")) << watch.out();
  ASSERT_TRUE(watch.ReadUntil("\033[2J")) << watch.out();
  watch.Write("\x03");
  EXPECT_EQ(watch.Wait(), 0);
}

TEST_F(Sites, OfAKilledWorkerCanStillBeRead) {
  Well({"vm", "stop", "loop", "--force"});
  EXPECT_EQ(Site().state(), v1::Site::LINKED);
  EXPECT_GT(Site().fast_calls(), 0u);
}

TEST_F(Sites, RefuseWhatMakesNoSense) {
  EXPECT_EQ(daemon_.Run({"sites", "set", "loop"}).code, 2) << "nothing to set";
  EXPECT_EQ(daemon_.Run({"sites", "set", "loop", "--inherit"}).code, 2) << "no site";
  EXPECT_EQ(daemon_.Run({"sites", "set", "loop", gpa_, "--technique", "direct"}).code, 2);
  EXPECT_EQ(daemon_.Run({"sites", "set", "loop", gpa_, "--patch-after", "0"}).code, 2);
  EXPECT_EQ(daemon_.Run({"sites", "show", "loop", "nonsense"}).code, 2);
  EXPECT_EQ(daemon_.Run({"sites", "revert", "loop", "0xfff000"}).code, 3);
  EXPECT_EQ(daemon_.Run({"sites", "reset", "loop", "0xfff000"}).code, 3);
  const Result filter = daemon_.Run({"sites", "ls", "loop", "--filter", "state ~"});
  EXPECT_EQ(filter.code, 2) << filter.out;
  EXPECT_THAT(filter.err, HasSubstr("filter"));
}

TEST_F(Sites, AreFiltered) {
  EXPECT_THAT(Well({"sites", "ls", "loop", "--filter", "state=LINKED", "-o", "name"}),
              EndsWith("\n"));
  EXPECT_THAT(Well({"sites", "ls", "loop", "--filter", "state=REVERTED", "-o", "name"}), IsEmpty());
}

}  // namespace
}  // namespace trapline::cli_test

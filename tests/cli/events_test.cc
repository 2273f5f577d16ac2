// SPDX-License-Identifier: Apache-2.0
// `trapline vm events`.
#include <signal.h>

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "tests/cli/with_daemon.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli_test {
namespace {

using ::testing::HasSubstr;

class Events : public WithDaemon {
 protected:
  std::vector<v1::WatchVmEventsResponse> Parse(const std::string& out) {
    std::vector<v1::WatchVmEventsResponse> events;
    for (const auto line : absl::StrSplit(out, '\n', absl::SkipEmpty())) {
      EXPECT_TRUE(
          google::protobuf::util::JsonStringToMessage(std::string(line), &events.emplace_back())
              .ok())
          << line;
    }
    return events;
  }
};

TEST_F(Events, FollowAVmFromItsCreationToItsEnd) {
  Create("other", "loop");
  Process events(daemon_.Command({"vm", "events", "--initial"}), daemon_.environment());
  ASSERT_TRUE(events.ReadUntil("other")) << events.err();  // now it watches
  Create("greet", "greet");
  ASSERT_TRUE(events.ReadUntil("created")) << events.err();
  Well({"vm", "start", "greet"});
  ASSERT_TRUE(events.ReadUntil("started")) << events.out();
  ASSERT_TRUE(events.ReadUntil("exit")) << events.out();
  Well({"vm", "rm", "greet"});
  ASSERT_TRUE(events.ReadUntil("deleted")) << events.out();
  events.Signal(SIGINT);
  EXPECT_EQ(events.Wait(), 0);
}

TEST_F(Events, BeginWithTheStateOfNow) {
  Start("loop", "loop");
  const auto events =
      Parse(Well({"vm", "events", "loop", "--initial", "--count", "1", "-o", "json"}));
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].event().vm(), "vms/loop");
  EXPECT_EQ(events[0].event().state(), v1::Vm::RUNNING);
}

TEST_F(Events, GoOnFromAToken) {
  Create("loop", "loop");
  const auto first = Parse(Well({"vm", "events", "--initial", "--count", "1", "-o", "json"}));
  ASSERT_EQ(first.size(), 1u);
  Well({"vm", "start", "loop"});
  Well({"vm", "pause", "loop"});
  Well({"vm", "resume", "loop"});
  const auto more = Parse(
      Well({"vm", "events", "--resume", first[0].resume_token(), "--count", "3", "-o", "json"}));
  ASSERT_EQ(more.size(), 3u);
  EXPECT_EQ(more[0].event().kind(), v1::VmEvent::STARTED);
  EXPECT_EQ(more[1].event().kind(), v1::VmEvent::PAUSED);
  EXPECT_EQ(more[2].event().kind(), v1::VmEvent::RESUMED);
}

TEST_F(Events, AreOfTheVmThatWasAskedFor) {
  Create("other", "greet");
  Create("loop", "loop");
  Process events(daemon_.Command({"vm", "events", "loop", "--count", "1", "--initial"}),
                 daemon_.environment());
  EXPECT_EQ(events.Wait(), 0) << events.err();
  EXPECT_THAT(events.out(), HasSubstr("loop"));
  EXPECT_THAT(events.out(), ::testing::Not(HasSubstr("other")));
  EXPECT_EQ(daemon_.Run({"vm", "events", "absent"}).code, 3);
  EXPECT_EQ(daemon_.Run({"vm", "events", "--resume", "nonsense"}).code, 2);
}

}  // namespace
}  // namespace trapline::cli_test

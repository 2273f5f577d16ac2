// SPDX-License-Identifier: Apache-2.0
// `trapline trace` on a guest that calls without end.
#include <signal.h>

#include <string>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "tests/cli/with_daemon.h"
#include "trapline/v1/traces.pb.h"

namespace trapline::cli_test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Trace : public WithDaemon {
 protected:
  Trace() { Start("loop", "loop"); }
};

TEST_F(Trace, EndsAfterAsManyAsAsked) {
  const Result result = daemon_.Run({"trace", "loop", "--count", "100"});
  EXPECT_EQ(result.code, 0) << result.err;
  const std::vector<std::string> lines = absl::StrSplit(result.out, '\n', absl::SkipEmpty());
  EXPECT_EQ(lines.size(), 100u);
  EXPECT_THAT(lines, ::testing::Each(HasSubstr("[vcpu 0] ping(")));
  EXPECT_THAT(lines[50], HasSubstr("loop_site"));
  EXPECT_THAT(result.err, HasSubstr("100 hypercalls shown"));
}

TEST_F(Trace, IsJsonLinesWhereAsked) {
  const std::string out = Well({"trace", "loop", "--count", "5", "-o", "json"});
  const std::vector<std::string> lines = absl::StrSplit(out, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 5u);
  for (const std::string& line : lines) {
    v1::TraceRecord record;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(line, &record).ok()) << line;
    EXPECT_EQ(record.number_name(), "ping");
    EXPECT_EQ(record.result(), 42);
    ASSERT_GE(record.arguments_size(), 1);
    EXPECT_EQ(record.arguments(0), 42u);
  }
}

TEST_F(Trace, ShowsOnlyWhatPassesTheFilter) {
  // Each of these lets nothing through; with a call of theirs in between, the rest would show.
  for (const std::vector<std::string>& filter :
       std::vector<std::vector<std::string>>{{"--failed"},
                                             {"--call", "send_ipi"},
                                             {"--vcpu", "1"},
                                             {"--cpl", "3"},
                                             {"--site", "0xfff000"},
                                             {"--min-cycles", "4000000000"}}) {
    std::vector<std::string> arguments{"trace", "loop", "--count", "1", "--timeout", "300ms"};
    arguments.insert(arguments.end(), filter.begin(), filter.end());
    const Result result = daemon_.Run(arguments);
    EXPECT_EQ(result.code, 7) << testing::PrintToString(filter) << result.out << result.err;
    EXPECT_THAT(result.out, IsEmpty());
  }
  EXPECT_THAT(Well({"trace", "loop", "--count", "1", "--call", "ping,send_ipi", "--vcpu", "0,1",
                    "--cpl", "0", "--path", "linked"}),
              HasSubstr("ping("));
}

TEST_F(Trace, RefusesWhatItCannotFilterBy) {
  EXPECT_EQ(daemon_.Run({"trace", "loop", "--call", "no_such_call"}).code, 2);
  EXPECT_EQ(daemon_.Run({"trace", "loop", "--path", "sideways"}).code, 2);
  EXPECT_EQ(daemon_.Run({"trace", "loop", "--sample", "0"}).code, 2);
}

TEST_F(Trace, TellsAtCtrlCHowManyItShowedAndHowManyWereDropped) {
  Process trace(daemon_.Command({"trace", "loop"}), daemon_.environment());
  ASSERT_TRUE(trace.ReadUntil("ping(")) << trace.err();
  trace.Signal(SIGINT);
  EXPECT_EQ(trace.Wait(), 0) << trace.err();
  EXPECT_THAT(trace.err(), HasSubstr("hypercalls shown"));
  EXPECT_THAT(trace.err(), HasSubstr("dropped"));
}

TEST_F(Trace, EndsWithTheVm) {
  Process trace(daemon_.Command({"trace", "loop", "--min-cycles", "4000000000"}),
                daemon_.environment());
  ASSERT_TRUE(trace.ReadErrorUntil("tracing loop")) << trace.err();
  Well({"vm", "stop", "loop", "--force"});
  EXPECT_EQ(trace.Wait(), 0) << trace.err();
}

TEST_F(Trace, IsForSeveralAtOnce) {
  Process other(daemon_.Command({"trace", "loop"}), daemon_.environment());
  ASSERT_TRUE(other.ReadUntil("ping(")) << other.err();
  Well({"trace", "loop", "--count", "10"});
  ASSERT_TRUE(other.ReadUntil("ping(")) << "one that ends must not end the other's";
  other.Signal(SIGINT);
  EXPECT_EQ(other.Wait(), 0);
}

TEST_F(Trace, BeginsWithTheTimeWhereAsked) {
  EXPECT_THAT(Well({"trace", "loop", "--count", "1", "--times"}), Not(::testing::StartsWith("[")));
}

}  // namespace
}  // namespace trapline::cli_test

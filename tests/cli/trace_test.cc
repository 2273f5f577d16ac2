// SPDX-License-Identifier: Apache-2.0
// `trapline trace` on a guest that calls without end, and its files.
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "tests/cli/with_daemon.h"
#include "trapline/v1/traces.pb.h"

namespace trapline::cli_test {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// Without those that tell of drops, which depend on how busy the machine is.
std::vector<std::string> Calls(const std::string& out) {
  std::vector<std::string> calls;
  for (absl::string_view line : absl::StrSplit(out, '\n', absl::SkipEmpty())) {
    if (!absl::StartsWith(line, "---") && !absl::StartsWith(line, "{\"dropped\""))
      calls.emplace_back(line);
  }
  return calls;
}

class Trace : public WithDaemon {
 protected:
  Trace() { Start("loop", "loop"); }
};

TEST_F(Trace, EndsAfterAsManyAsAsked) {
  const Result result = daemon_.Run({"trace", "loop", "--count", "100"});
  EXPECT_EQ(result.code, 0) << result.err;
  const std::vector<std::string> lines = Calls(result.out);
  EXPECT_EQ(lines.size(), 100u);
  EXPECT_THAT(lines, Each(HasSubstr("[vcpu 0] ping(x=0x2a) = 42  <")));
  EXPECT_THAT(result.err, HasSubstr("100 hypercalls shown"));
}

TEST_F(Trace, IsJsonLinesWhereAsked) {
  const std::vector<std::string> lines =
      Calls(Well({"trace", "loop", "--count", "5", "-o", "json"}));
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
                                             {"--nr", "send_ipi"},
                                             {"--vcpu", "1"},
                                             {"--cpl", "3"},
                                             {"--site", "0xfff000"},
                                             {"--slower-than", "4000000000"},
                                             {"--slower-than", "100s"}}) {
    std::vector<std::string> arguments{"trace", "loop", "--count", "1", "--timeout", "300ms"};
    arguments.insert(arguments.end(), filter.begin(), filter.end());
    const Result result = daemon_.Run(arguments);
    EXPECT_EQ(result.code, 7) << testing::PrintToString(filter) << result.out << result.err;
    EXPECT_THAT(Calls(result.out), IsEmpty());
  }
  EXPECT_THAT(Well({"trace", "loop", "--count", "1", "--nr", "ping,send_ipi", "--nr", "5", "--vcpu",
                    "0,1", "--cpl", "0", "--path", "linked", "--slower-than", "1"}),
              HasSubstr("ping("));
}

TEST_F(Trace, FindsSitesBySymbol) {
  Well({"trace", "loop", "--count", "1"});  // from here on there is one
  EXPECT_THAT(Well({"trace", "loop", "--count", "1", "--site", "loop_site"}),
              HasSubstr("loop_site"));
  const Result result = daemon_.Run({"trace", "loop", "--site", "no_such_function"});
  EXPECT_EQ(result.code, 3) << result.err;
  EXPECT_THAT(result.err, HasSubstr("no_such_function"));
  EXPECT_THAT(result.err, HasSubstr("trapline sites ls loop"));
}

TEST_F(Trace, RefusesWhatItCannotDo) {
  for (const std::vector<std::string>& bad :
       std::vector<std::vector<std::string>>{{"--nr", "no_such_call"},
                                             {"--path", "sideways"},
                                             {"--sample", "0"},
                                             {"--slower-than", "soon"},
                                             {"--sort", "calls"},  // without -c
                                             {"--output", "json"},
                                             {"--output", "file", "-c"},
                                             {"--output", "file", "-o", "json"}}) {
    std::vector<std::string> arguments{"trace", "loop"};
    arguments.insert(arguments.end(), bad.begin(), bad.end());
    EXPECT_EQ(daemon_.Run(arguments).code, 2) << testing::PrintToString(bad);
  }
}

TEST_F(Trace, TellsAtCtrlCHowManyItShowedAndHowManyWereDropped) {
  Process trace(daemon_.Command({"trace", "loop"}), daemon_.environment());
  ASSERT_TRUE(trace.ReadUntil("ping(")) << trace.err();
  trace.Signal(SIGINT);
  EXPECT_EQ(trace.Wait(), 0) << trace.err();
  EXPECT_THAT(trace.err(), HasSubstr("hypercalls shown"));
  EXPECT_THAT(trace.err(), HasSubstr("dropped"));
}

TEST_F(Trace, IsATableAtCtrlC) {
  Well({"trace", "loop", "--count", "1"});  // so that there is something to see
  Process trace(daemon_.Command({"trace", "loop", "-c"}), daemon_.environment());
  ASSERT_TRUE(trace.ReadErrorUntil("tracing loop")) << trace.err();
  Well({"trace", "loop", "--count", "1000"});
  trace.Signal(SIGINT);
  EXPECT_EQ(trace.Wait(), 0) << trace.err();
  EXPECT_THAT(trace.out(), StartsWith("% CYCLES"));
  EXPECT_THAT(trace.out(), HasSubstr("ping\n"));
  EXPECT_THAT(trace.out(), HasSubstr("total\n"));
  EXPECT_THAT(trace.out(), Not(HasSubstr("[vcpu")));
}

TEST_F(Trace, IsATableOfJson) {
  const auto document = Json<google::protobuf::Struct>({"trace", "loop", "-c", "--count", "50"});
  EXPECT_EQ(document.fields().at("total").struct_value().fields().at("calls").string_value(), "50");
}

TEST_F(Trace, EndsWithTheVm) {
  Process trace(daemon_.Command({"trace", "loop", "--slower-than", "4000000000"}),
                daemon_.environment());
  ASSERT_TRUE(trace.ReadErrorUntil("tracing loop")) << trace.err();
  Well({"vm", "stop", "loop", "--force"});
  EXPECT_EQ(trace.Wait(), 0) << trace.err();
}

TEST_F(Trace, FollowsTheVmThroughItsNextStart) {
  Process trace(daemon_.Command({"trace", "loop", "--follow", "--sample", "1000"}),
                daemon_.environment());
  ASSERT_TRUE(trace.ReadUntil("ping(")) << trace.err();
  Well({"vm", "stop", "loop", "--force"});
  Well({"vm", "start", "loop"});
  ASSERT_TRUE(trace.ReadUntil("--- started again ---\n")) << trace.err();
  ASSERT_TRUE(trace.ReadUntil("ping(")) << trace.err();
  trace.Signal(SIGINT);
  EXPECT_EQ(trace.Wait(), 0) << trace.err();
}

TEST_F(Trace, ShowsTheLastCallsOnRecordAndEnds) {
  Well({"trace", "loop", "--count", "100"});
  const std::string running = Well({"trace", "loop", "--last", "10"});
  EXPECT_EQ(Calls(running).size(), 10u) << running;
  Well({"vm", "stop", "loop", "--force"});
  const std::string over = Well({"trace", "loop", "--last", "10"});
  EXPECT_EQ(Calls(over).size(), 10u) << over;
  EXPECT_THAT(over, HasSubstr("loop_site"));
}

TEST_F(Trace, IsForSeveralAtOnce) {
  Process other(daemon_.Command({"trace", "loop"}), daemon_.environment());
  ASSERT_TRUE(other.ReadUntil("ping(")) << other.err();
  Well({"trace", "loop", "--count", "10"});
  ASSERT_TRUE(other.ReadUntil("ping(")) << "one that ends must not end the other's";
  other.Signal(SIGINT);
  EXPECT_EQ(other.Wait(), 0);
}

TEST_F(Trace, BeginsWithTheTimeUnlessTold) {
  EXPECT_THAT(Calls(Well({"trace", "loop", "--count", "1"}))[0],
              ::testing::ContainsRegex("^[0-9]+\\.[0-9]{6} \\[vcpu"));
  EXPECT_THAT(Calls(Well({"trace", "loop", "--count", "1", "--time", "clock"}))[0],
              ::testing::ContainsRegex("^..:..:..\\.[0-9]{6} \\[vcpu"));
  EXPECT_THAT(Calls(Well({"trace", "loop", "--count", "1", "--time", "none"}))[0],
              StartsWith("[vcpu"));
}

class TraceFile : public Trace {
 protected:
  TraceFile() : path_(absl::StrCat(::testing::TempDir(), "loop-", getpid(), ".trace")) {}
  ~TraceFile() override {
    std::filesystem::remove(path_);
    std::filesystem::remove(path_ + ".json");
  }

  const std::string path_;
};

TEST_F(TraceFile, IsReadAsItWouldHaveBeenShown) {
  Well({"trace", "loop", "--count", "1"});
  Well({"sites", "ls", "loop"});  // which finds its symbol
  const Result written = daemon_.Run({"trace", "loop", "--output", path_, "--count", "1000"});
  ASSERT_EQ(written.code, 0) << written.err;
  EXPECT_THAT(written.out, IsEmpty());
  EXPECT_THAT(written.err, HasSubstr("1,000 hypercalls"));
  EXPECT_THAT(written.err, HasSubstr(path_));

  const Result shown = RunTrapline({"trace", "read", path_});
  EXPECT_EQ(shown.code, 0) << shown.err;
  const std::vector<std::string> lines = Calls(shown.out);
  EXPECT_EQ(lines.size(), 1000u);
  EXPECT_THAT(lines, Each(HasSubstr("[vcpu 0] ping(x=0x2a) = 42  <")));
  EXPECT_THAT(lines[500], HasSubstr("loop_site"));

  EXPECT_EQ(Calls(RunTrapline({"trace", "read", path_, "--site", "loop_site", "--nr", "ping",
                               "--sample", "10", "-o", "json"})
                      .out)
                .size(),
            100u);
  EXPECT_THAT(Calls(RunTrapline({"trace", "read", path_, "--failed"}).out), IsEmpty());
  EXPECT_THAT(Calls(RunTrapline({"trace", "read", path_, "--slower-than", "100s"}).out), IsEmpty());
  EXPECT_THAT(RunTrapline({"trace", "read", path_, "-c"}).out, HasSubstr("ping\n"));
}

TEST_F(TraceFile, CutShortIsShownAndThenSaidToBe) {
  Well({"trace", "loop", "--output", path_, "--count", "1000"});
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 1);
  const Result shown = RunTrapline({"trace", "read", path_});
  EXPECT_EQ(shown.code, 1);
  EXPECT_THAT(shown.err, HasSubstr("damaged at byte "));
  const Result json = RunTrapline({"trace", "read", path_, "-o", "json"});
  EXPECT_THAT(json.err, StartsWith("{\"error\":"));
}

TEST_F(TraceFile, OnAFullDiskIsAnError) {
  const Result result = daemon_.Run({"trace", "loop", "--output", "/dev/full"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("cannot write /dev/full: No space left on device"));
}

TEST_F(TraceFile, IsExportedToTheTraceEventFormat) {
  Well({"trace", "loop", "--output", path_, "--count", "1000"});
  const Result exported = RunTrapline({"trace", "export", path_, "--to", path_ + ".json"});
  ASSERT_EQ(exported.code, 0) << exported.err;
  Process check({PYTHON3, TRACE_EVENTS_CHECK, path_ + ".json"});
  EXPECT_EQ(check.Wait(), 0) << check.err();
  EXPECT_EQ(check.out(), "1000 calls of loop: vcpu 0\n");
  std::ifstream file(path_ + ".json");
  const std::string to_file{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(RunTrapline({"trace", "export", path_}).out, to_file);
}

TEST(TraceFiles, NeedNoDaemonAndNoFlagsOfALiveTrace) {
  const Result absent = RunTrapline({"trace", "read", "/nonexistent"});
  EXPECT_EQ(absent.code, 3);
  EXPECT_THAT(absent.err, HasSubstr("cannot read /nonexistent"));
  EXPECT_EQ(RunTrapline({"trace", "read", "/bin/true"}).code, 2);
  EXPECT_EQ(RunTrapline({"trace", "export", "/bin/true"}).code, 2);
  EXPECT_EQ(RunTrapline({"trace"}).code, 2);
  const Result both = RunTrapline({"trace", "debian", "read", "/bin/true"});
  EXPECT_EQ(both.code, 2);
  EXPECT_THAT(both.err, HasSubstr("excludes"));
  EXPECT_EQ(RunTrapline({"trace", "--follow", "read", "/bin/true"}).code, 2);
}

}  // namespace
}  // namespace trapline::cli_test

// SPDX-License-Identifier: Apache-2.0
// The command line as a process, without a daemon: help, usage errors, an absent daemon,
// completion.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/cli/process.h"

namespace trapline::cli_test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const Environment kNowhere = {{"TRAPLINE_HOST", "unix:///nonexistent/traplined.sock"}};

TEST(Help, TeachesAtEveryLevel) {
  const Result root = RunTrapline({"--help"});
  EXPECT_EQ(root.code, 0);
  for (const char* text :
       {"Exit codes:", "Examples:", "TRAPLINE_HOST", "sites", "trace", "bench"}) {
    EXPECT_THAT(root.out, HasSubstr(text));
  }
  const std::vector<std::vector<std::string>> commands = {{"run"},
                                                          {"vm", "create"},
                                                          {"vm", "ls"},
                                                          {"vm", "console"},
                                                          {"vm", "disassemble"},
                                                          {"sites", "ls"},
                                                          {"sites", "set"},
                                                          {"sites", "watch"},
                                                          {"trace"},
                                                          {"trace", "read"},
                                                          {"trace", "export"},
                                                          {"host"},
                                                          {"bench", "hypercall"},
                                                          {"completion", "bash"}};
  for (std::vector<std::string> command : commands) {
    command.push_back("--help");
    const Result result = RunTrapline(command);
    EXPECT_EQ(result.code, 0) << command[0];
    EXPECT_THAT(result.out, HasSubstr("Examples:")) << command[0];
    EXPECT_THAT(result.err, IsEmpty());
  }
}

TEST(Usage, ErrorsExitTwoAndPointToHelp) {
  const std::vector<std::vector<std::string>> bad = {
      {},
      {"vm"},
      {"frobnicate"},
      {"vm", "create"},
      {"vm", "create", "x", "--kernel", "/bin/true", "--memory", "lots"},
      {"vm", "ls", "-o", "xml"},
      {"vm", "events", "-o", "yaml"},
      {"run", "/bin/true", "--technique", "magic"},
      {"sites", "set", "debian"},
      {"vm", "ls", "--timeout", "soon"},
      {"vm", "ls", "--host", "10.1.2.3:80"},
      {"vm", "list"},
      {"--host", "unix:///a", "version"}};
  for (const auto& arguments : bad) {
    const Result result = RunTrapline(arguments, kNowhere);
    EXPECT_EQ(result.code, 2) << testing::PrintToString(arguments) << result.out << result.err;
    EXPECT_THAT(result.err, Not(IsEmpty()));
    EXPECT_THAT(result.out, IsEmpty());
  }
}

TEST(Usage, SaysWhichFlagIsWrong) {
  const Result result =
      RunTrapline({"vm", "create", "x", "--kernel", "/bin/true", "--memory", "lots"}, kNowhere);
  EXPECT_THAT(result.err, HasSubstr("--memory"));
  EXPECT_THAT(result.err, HasSubstr("'lots' is not a size"));
  EXPECT_THAT(result.err, HasSubstr("trapline vm create --help"));
}

TEST(Usage, SaysWhatIsUnknown) {
  auto error = [](const std::vector<std::string>& arguments) {
    return RunTrapline(arguments, kNowhere).err;
  };
  EXPECT_THAT(error({"frobnicate", "it"}), HasSubstr("'trapline' has no command 'frobnicate'"));
  EXPECT_THAT(error({"vm", "list", "a"}), HasSubstr("'trapline vm' has no command 'list'"));
  EXPECT_THAT(error({"vm", "ls", "--fast", "a"}),
              HasSubstr("'trapline vm ls' has no option --fast"));
  EXPECT_THAT(error({"host", "a"}), HasSubstr("'trapline host' takes no argument 'a' here"));
}

TEST(Usage, WhichDaemonMayBeSaidBeforeTheCommand) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--host", "unix:///nonexistent/x", "vm", "ls"},
                                             {"vm", "--host", "unix:///nonexistent/x", "ls"},
                                             {"vm", "ls", "--host", "unix:///nonexistent/x"}}) {
    const Result result = RunTrapline(arguments);
    EXPECT_EQ(result.code, 5) << result.err;
    EXPECT_THAT(result.err, HasSubstr("unix:///nonexistent/x"));
  }
  EXPECT_THAT(RunTrapline({"--host", "unix:///nonexistent/x", "version"}).err,
              HasSubstr("asks no daemon"));
}

TEST(DaemonDown, ExitsFiveAndSaysHowToStartIt) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"vm", "ls"},
                                             {"vm", "events"},
                                             {"sites", "ls", "debian"},
                                             {"trace", "debian"},
                                             {"host"}}) {
    const Result result = RunTrapline(arguments, kNowhere);
    EXPECT_EQ(result.code, 5) << testing::PrintToString(arguments) << result.err;
    EXPECT_THAT(result.err, HasSubstr("traplined --listen unix:///nonexistent/traplined.sock"));
  }
}

TEST(DaemonDown, IsJsonWhereJsonWasAskedFor) {
  const Result result = RunTrapline({"vm", "ls", "-o", "json"}, kNowhere);
  EXPECT_EQ(result.code, 5);
  google::protobuf::Struct document;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(result.err, &document).ok())
      << result.err;
  const auto& error = document.fields().at("error").struct_value().fields();
  EXPECT_EQ(error.at("status").string_value(), "UNAVAILABLE");
  EXPECT_EQ(error.at("exitCode").number_value(), 5);
}

TEST(Completion, IsValidBashAndNeedsNoDaemon) {
  const Result script = RunTrapline({"completion", "bash"}, kNowhere);
  ASSERT_EQ(script.code, 0);
  Process bash({"/bin/bash", "-n"});
  bash.Write(script.out);
  bash.CloseStdin();
  EXPECT_EQ(bash.Wait(), 0) << bash.err();
}

// What the script offers for a line, one candidate a line.
std::string Offered(const std::string& words, int current) {
  const Result script = RunTrapline({"completion", "bash"});
  Process bash({"/bin/bash"});
  bash.Write(script.out);
  bash.Write("COMP_WORDS=(" + words + "); COMP_CWORD=" + std::to_string(current) +
             "; _trapline; printf '%s\\n' \"${COMPREPLY[@]}\"\n");
  bash.CloseStdin();
  EXPECT_EQ(bash.Wait(), 0) << bash.err();
  return bash.out();
}

TEST(Completion, OffersCommandsFlagsAndValues) {
  EXPECT_EQ(Offered("trapline si", 1), "sites\n");
  EXPECT_THAT(Offered("trapline vm ''", 2), HasSubstr("disassemble\n"));
  EXPECT_EQ(Offered("trapline run --tech", 2), "--technique\n");
  EXPECT_EQ(Offered("trapline run --technique i", 3), "interrupt\n");
  EXPECT_EQ(Offered("trapline vm ls -o j", 4), "json\n");
  EXPECT_EQ(Offered("trapline trace re", 2), "read\n");
  EXPECT_EQ(Offered("trapline trace read x --sort a", 5), "avg\n");
}

TEST(Version, IsPrinted) {
  const Result result = RunTrapline({"version"}, kNowhere);
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, HasSubstr("trapline "));
}

}  // namespace
}  // namespace trapline::cli_test

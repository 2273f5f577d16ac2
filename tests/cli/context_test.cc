// SPDX-License-Identifier: Apache-2.0
// `trapline context`, and commands that reach a traplined by TLS through one.
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/process.h"
#include "tests/common/scratch.h"

namespace trapline::cli_test {
namespace {

using ::testing::HasSubstr;

class ContextTest : public ::testing::Test {
 protected:
  ContextTest() {
    environment_ = {{"TRAPLINE_CONFIG", directory_ + "/config.toml"}, {"TRAPLINE_HOST", ""}};
  }

  Result Run(std::vector<std::string> arguments) const {
    return RunTrapline(std::move(arguments), environment_);
  }
  std::string Well(const std::vector<std::string>& arguments) const {
    const Result result = Run(arguments);
    EXPECT_EQ(result.code, 0) << testing::PrintToString(arguments) << result.err;
    return result.out;
  }

  const Scratch scratch_;
  const std::string directory_ = scratch_.path();
  Environment environment_;
};

TEST_F(ContextTest, AreMadeListedUsedAndForgotten) {
  EXPECT_EQ(Run({"context", "show"}).code, 3);
  Well({"context", "set", "here", "--host", "unix:///nonexistent/here.sock"});
  Well({"context", "set", "lab", "--host", "lab.example:7443", "--cert", "/tmp/../ann.pem"});
  EXPECT_EQ(Well({"context", "ls", "-o", "name"}), "here\nlab\n");
  Well({"context", "use", "lab"});
  EXPECT_THAT(Well({"context", "ls"}), HasSubstr("*        lab"));
  EXPECT_THAT(Well({"context", "show"}), HasSubstr("/ann.pem"));
  EXPECT_THAT(Well({"context", "show", "here", "-o", "json"}), HasSubstr("\"current\": false"));
  Well({"context", "rm", "lab"});
  EXPECT_EQ(Well({"context", "ls", "-o", "name"}), "here\n");
  EXPECT_EQ(Run({"context", "show"}).code, 3);
}

TEST_F(ContextTest, ThatCannotBeAreRefusedAndChangeNothing) {
  EXPECT_EQ(Run({"context", "set", "a"}).code, 2);
  EXPECT_EQ(Run({"context", "set", "a", "--host", "nonsense"}).code, 2);
  const Result unknown = Run({"context", "use", "a"});
  EXPECT_EQ(unknown.code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("there is no context a"));
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/config.toml"));
}

TEST_F(ContextTest, ErrorsSayWhichOneWasUsed) {
  Well({"context", "set", "gone", "--host", "localhost:1"});
  const Result result = Run({"vm", "ls", "--context", "gone"});
  EXPECT_EQ(result.code, 5);
  EXPECT_THAT(result.err, HasSubstr("cannot reach traplined at localhost:1 (context gone)"));
}

TEST_F(ContextTest, ReachADaemonByTls) {
  const std::string ca = directory_ + "/ca";
  ASSERT_EQ(system((TRAPLINE_DEPLOY_DIR "/test-ca.sh " + ca + " >/dev/null").c_str()), 0);
  std::ofstream(directory_ + "/t.toml")
      << "[tls]\ncertificate = \"" << ca << "/server.pem\"\nkey = \"" << ca
      << "/server.key\"\nclient_ca = \"" << ca << "/ca.pem\"\n"
      << "[access.viewer]\nsans = [\"dns:viewer.clients.trapline.test\"]\n";
  Process daemon({TRAPLINED_BINARY, "--config", directory_ + "/t.toml", "--listen",
                  "unix://" + directory_ + "/d.sock", "--listen-tcp", "127.0.0.1:0", "--run-dir",
                  directory_ + "/run", "--state-dir", directory_ + "/state"});
  ASSERT_TRUE(daemon.ReadErrorUntil("tcp_port=")) << daemon.err();
  ASSERT_TRUE(daemon.ReadErrorUntil("version=")) << daemon.err();
  const size_t at = daemon.err().find("tcp_port=") + 9;
  const std::string host = "localhost:" + daemon.err().substr(at, daemon.err().find(' ', at) - at);

  Well({"context", "set", "tls", "--host", host, "--ca-cert", ca + "/ca.pem", "--cert",
        ca + "/viewer.pem", "--key", ca + "/viewer.key"});
  Well({"context", "use", "tls"});
  EXPECT_THAT(Well({"vm", "ls"}), HasSubstr("NAME"));
  const Result denied = Run({"vm", "stop", "a"});
  EXPECT_EQ(denied.code, 6);
  EXPECT_THAT(denied.err, HasSubstr("Vms/StopVm needs the role operator"));
  // Somebody else's certificate, which is known to the CA and has no role.
  EXPECT_EQ(
      Run({"vm", "ls", "--context", "tls", "--cert", ca + "/admin.pem", "--key", ca + "/admin.key"})
          .code,
      6);
  // The daemon's certificate is not for this name.
  const Result stranger =
      Run({"vm", "ls", "--context", "tls", "--host", "127.0.0.2:" + host.substr(10)});
  EXPECT_EQ(stranger.code, 5);
  EXPECT_THAT(stranger.err, HasSubstr("(context tls)"));
  // What waits for a machine that says nothing any more does not wait for ever.
  const std::string socket = "unix://" + directory_ + "/d.sock";
  Well({"vm", "create", "a", "--kernel", Guest("loop"), "--memory", "64M", "--host", socket});
  Process events({TRAPLINE_BINARY, "vm", "events", "--initial"}, environment_);
  ASSERT_TRUE(events.ReadUntil("created")) << events.err();
  daemon.Signal(SIGSTOP);
  EXPECT_EQ(events.Wait(), 5);
  EXPECT_THAT(events.err(), HasSubstr("cannot reach traplined at " + host + " (context tls)"));
  daemon.Signal(SIGCONT);
  Well({"vm", "rm", "a", "--host", socket});
  daemon.Signal(SIGTERM);
  EXPECT_EQ(daemon.Wait(), 0);
}

}  // namespace
}  // namespace trapline::cli_test

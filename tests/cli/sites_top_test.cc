// SPDX-License-Identifier: Apache-2.0
// `trapline sites top` on a real terminal, watching a guest that calls from three sites without
// end; and as lines where there is no terminal.
#include <signal.h>

#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "tests/cli/tmux.h"
#include "tests/cli/with_daemon.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::cli_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class SitesTop : public WithDaemon {
 protected:
  SitesTop() { Start("three", "sites"); }

  // What the shell of the terminal runs: top, and then how the terminal was left.
  static std::string TopOn(const std::string& what) {
    return absl::StrCat(TRAPLINE_BINARY, " sites top ", what,
                        " --interval 100ms; echo \"ended with $?\"; stty -a");
  }
  Environment OnTerminal() const {
    Environment environment = daemon_.environment();
    environment["LC_ALL"] = "C.UTF-8";
    return environment;
  }
  // The site of that symbol.
  v1::Site Site(const std::string& symbol) {
    const auto list = Json<v1::ListSitesResponse>({"sites", "ls", "three"});
    for (const v1::Site& site : list.sites()) {
      if (site.symbol() == symbol) return site;
    }
    return {};
  }
};

// The line of the screen that has this in it.
std::string LineWith(const std::string& screen, const std::string& text) {
  std::istringstream lines(screen);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(text) != std::string::npos) return line;
  }
  return "";
}

// top has ended well, and left neither modes of its own nor its screen.
void ExpectTerminalSane(Tmux& terminal) {
  ASSERT_TRUE(terminal.Await("ended with 0")) << terminal.Screen();
  ASSERT_TRUE(terminal.Await("icanon")) << terminal.Screen();
  EXPECT_THAT(terminal.Screen(), AllOf(Not(HasSubstr("-icanon")), Not(HasSubstr("-echo "))));
  EXPECT_EQ(terminal.Ask("#{alternate_on} #{cursor_flag}"), "0 1\n");
}

TEST_F(SitesTop, RanksTheSitesAndLeavesTheTerminalAsItWas) {
  Tmux terminal(80, 24, TopOn("three"), OnTerminal());
  ASSERT_TRUE(terminal.Await("steady_site")) << terminal.Screen();
  ASSERT_TRUE(terminal.Await("█")) << terminal.Screen();
  ASSERT_TRUE(terminal.AwaitGone("→")) << "marks of changes wear off\n" << terminal.Screen();
  const std::string screen = terminal.Screen();
  EXPECT_THAT(screen, HasSubstr("three  running  engine"));
  EXPECT_THAT(screen, HasSubstr("SITE       SYMBOL"));
  EXPECT_LT(screen.find("busy_site"), screen.find("steady_site"));
  EXPECT_THAT(LineWith(screen, "busy_site"), AllOf(HasSubstr("linked"), HasSubstr("ping")));
  terminal.Press({"q"});
  ExpectTerminalSane(terminal);
}

TEST_F(SitesTop, PinsPatchesAndRevertsTheSiteAtTheCursor) {
  Tmux terminal(80, 24, TopOn("three"), OnTerminal());
  ASSERT_TRUE(terminal.Await("busy_site")) << terminal.Screen();
  terminal.Press({"/"});
  terminal.Press({"s", "t", "e", "a", "d", "y", "Enter"});
  ASSERT_TRUE(terminal.Await("filter \"steady\" has 1")) << terminal.Screen();
  terminal.Press({"p"});
  ASSERT_TRUE(terminal.Await("policy: emulate")) << terminal.Screen();
  ASSERT_TRUE(terminal.Await("pinned")) << terminal.Screen();
  EXPECT_EQ(Site("steady_site").state(), v1::Site::PINNED);
  terminal.Press({"P"});
  ASSERT_TRUE(terminal.Await("linked, patched after 1 traps, linked after 1 calls"))
      << terminal.Screen();
  while (Site("steady_site").state() != v1::Site::LINKED) {
  }
  terminal.Press({"v"});
  ASSERT_TRUE(terminal.Await("reverted (reverted on request)")) << terminal.Screen();
  terminal.Press({"v"});
  ASSERT_TRUE(terminal.Await("it is reverted")) << "errors too\n" << terminal.Screen();
  terminal.Press({"u"});
  ASSERT_TRUE(terminal.Await("as the VM: linked")) << terminal.Screen();
  EXPECT_FALSE(Site("steady_site").has_policy());
}

TEST_F(SitesTop, FollowsTheSizeOfTheTerminal) {
  Tmux terminal(80, 24, TopOn("three"), OnTerminal());
  ASSERT_TRUE(terminal.Await("HYPERCALLS")) << terminal.Screen();
  terminal.Resize(120, 40);
  ASSERT_TRUE(terminal.Await("TRAPS/S")) << terminal.Screen();
  terminal.Resize(40, 10);
  ASSERT_TRUE(terminal.AwaitGone("SYMBOL")) << terminal.Screen();
  EXPECT_THAT(terminal.Screen(), HasSubstr("CYC/CALL"));
  terminal.Press({"C-c"});
  terminal.Resize(80, 24);
  ExpectTerminalSane(terminal);
}

TEST_F(SitesTop, OpensASite) {
  Tmux terminal(80, 60, TopOn("three"), OnTerminal());
  ASSERT_TRUE(terminal.Await("steady_site")) << terminal.Screen();
  terminal.Press({"/"});
  terminal.Press({"b", "u", "s", "y", "Enter", "Enter"});
  ASSERT_TRUE(terminal.Await("0f 01 c1 → ")) << terminal.Screen();
  ASSERT_TRUE(terminal.Await("linked, mean ")) << terminal.Screen();
  ASSERT_TRUE(terminal.Await("found, emulate")) << terminal.Screen();
  ASSERT_TRUE(terminal.Await("interrupt→linked")) << terminal.Screen();
  terminal.Press({"End"});
  ASSERT_TRUE(terminal.Await("ping(x=0x2a) = 42")) << "on record\n" << terminal.Screen();
  terminal.Press({"t"});
  ASSERT_TRUE(terminal.Await("TRACING")) << terminal.Screen();
  terminal.Press({"t"});
  ASSERT_TRUE(terminal.AwaitGone("TRACING")) << terminal.Screen();
  terminal.Press({"Escape"});
  ASSERT_TRUE(terminal.Await("CALLS/S")) << terminal.Screen();
}

TEST_F(SitesTop, HoldsTheDisplayWhilePaused) {
  Tmux terminal(80, 24, TopOn("three"), OnTerminal());
  ASSERT_TRUE(terminal.Await("busy_site")) << terminal.Screen();
  terminal.Press({"Space"});
  ASSERT_TRUE(terminal.Await("PAUSED")) << terminal.Screen();
  const std::string busy = LineWith(terminal.Screen(), "busy_site");
  Well({"sites", "set", "three", "--technique", "emulate"});
  while (Site("busy_site").state() != v1::Site::PINNED) {
  }
  EXPECT_EQ(LineWith(terminal.Screen(), "busy_site"), busy);
  terminal.Press({"Space"});
  ASSERT_TRUE(terminal.Await("pinned")) << terminal.Screen();
}

TEST_F(SitesTop, OfAllVmsSeesThemComeAndGo) {
  Tmux terminal(80, 24, TopOn("--all"), OnTerminal());
  ASSERT_TRUE(terminal.Await("three    0x")) << terminal.Screen();
  Start("another", "loop");
  ASSERT_TRUE(terminal.Await("loop_site")) << terminal.Screen();
  EXPECT_THAT(terminal.Screen(), HasSubstr("all VMs  2  2 running"));
  Well({"vm", "rm", "another", "--force"});
  ASSERT_TRUE(terminal.AwaitGone("loop_site")) << terminal.Screen();
  EXPECT_THAT(terminal.Screen(), HasSubstr("busy_site"));
}

TEST_F(SitesTop, SaysThatTheVmHasGone) {
  Tmux terminal(80, 24, TopOn("three"), OnTerminal());
  ASSERT_TRUE(terminal.Await("busy_site")) << terminal.Screen();
  Well({"vm", "rm", "three", "--force"});
  ASSERT_TRUE(terminal.Await("there is no such VM now")) << terminal.Screen();
  Start("three", "loop");
  ASSERT_TRUE(terminal.Await("loop_site")) << terminal.Screen();
}

TEST_F(SitesTop, OutlivesTheDaemon) {
  Tmux terminal(80, 24, TopOn("three"), OnTerminal());
  ASSERT_TRUE(terminal.Await("busy_site")) << terminal.Screen();
  daemon_.Stop();
  ASSERT_TRUE(terminal.Await("trying again")) << terminal.Screen();
  daemon_.Start();
  ASSERT_TRUE(terminal.AwaitGone("trying again")) << terminal.Screen();
  Well({"vm", "start", "three"});
  ASSERT_TRUE(terminal.Await("three  running")) << terminal.Screen();
  terminal.Press({"q"});
  ExpectTerminalSane(terminal);
}

TEST_F(SitesTop, IsLinesWhereThereIsNoTerminal) {
  const std::string text =
      Well({"sites", "top", "three", "--interval", "100ms", "--count", "2", "--rows", "1"});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_THAT(text, AllOf(HasSubstr("busy_site"), HasSubstr("calls/s")));
}

TEST_F(SitesTop, IsJsonLinesForScripts) {
  const std::string text = Well({"sites", "top", "three", "--interval", "100ms", "--count", "1",
                                 "--filter", "busy", "-o", "json"});
  google::protobuf::Struct document;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(text, &document).ok()) << text;
  const auto& sites = document.fields().at("sites").list_value();
  ASSERT_EQ(sites.values_size(), 1);
  EXPECT_GT(sites.values(0).struct_value().fields().at("callsPerSecond").number_value(), 0);
}

TEST_F(SitesTop, RefusesWhatMakesNoSense) {
  EXPECT_EQ(daemon_.Run({"sites", "top"}).code, 2) << "which?";
  EXPECT_EQ(daemon_.Run({"sites", "top", "three", "--all"}).code, 2);
  EXPECT_EQ(daemon_.Run({"sites", "top", "three", "--interval", "99ms"}).code, 2);
  EXPECT_EQ(daemon_.Run({"sites", "top", "three", "--sort", "size"}).code, 2);
  EXPECT_EQ(daemon_.Run({"sites", "top", "nobody"}).code, 3);
}

}  // namespace
}  // namespace trapline::cli_test

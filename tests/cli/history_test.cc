// SPDX-License-Identifier: Apache-2.0
// `trapline sites history|export|diff|plot` on a guest that calls without end from one site.
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "tests/cli/with_daemon.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::cli_test {
namespace {

using google::protobuf::util::JsonStringToMessage;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class History : public WithDaemon {
 protected:
  History() {
    Start("loop", "loop");
    AwaitState(v1::Site::LINKED);
    std::filesystem::create_directory(folder_);
  }
  ~History() override { std::filesystem::remove_all(folder_); }

  v1::Site Site() {
    const auto list = Json<v1::ListSitesResponse>({"sites", "ls", "loop"});
    return list.sites().empty() ? v1::Site() : list.sites(0);
  }
  void AwaitState(v1::Site::State state) {
    while (Site().state() != state) {
    }
  }
  std::string Gpa() {
    const std::string name = Site().name();
    return name.substr(name.rfind('/') + 1);
  }
  v1::ListSiteTransitionsResponse Transitions(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"sites", "history", "loop"});
    return Json<v1::ListSiteTransitionsResponse>(more);
  }
  std::string File(const std::string& name) const { return folder_ + "/" + name; }
  std::string Contents(const std::string& name) const {
    std::ifstream file(File(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const std::string folder_ = testing::TempDir() + "/history_" + std::to_string(getpid());
};

TEST_F(History, SaysWhatBecameOfASite) {
  const auto all = Transitions();
  ASSERT_GE(all.transitions_size(), 3) << "found, patched, linked";
  EXPECT_EQ(all.transitions(0).from(), v1::Site::STATE_UNSPECIFIED);
  const auto& last = all.transitions(all.transitions_size() - 1);
  EXPECT_EQ(last.from(), v1::Site::PATCHED);
  EXPECT_EQ(last.to(), v1::Site::LINKED);
  EXPECT_EQ(last.symbol(), "loop_site");
  EXPECT_EQ(last.policy().limit(), v1::TECHNIQUE_LINKED);
  EXPECT_EQ(all.lost(), 0u);
  const std::string table = Well({"sites", "history", "loop"});
  EXPECT_THAT(table, StartsWith("TIME"));
  EXPECT_THAT(table, AllOf(HasSubstr("loop_site"), HasSubstr("patched"), HasSubstr("linked")));
}

TEST_F(History, EndsWithTheLatest) {
  Well({"sites", "revert", "loop", Gpa()});
  const auto one = Transitions({"--last", "1"});
  ASSERT_THAT(one.transitions(), SizeIs(1));
  EXPECT_EQ(one.transitions(0).to(), v1::Site::REVERTED);
  EXPECT_FALSE(one.transitions(0).has_vcpu()) << "nobody's call brought it about";
  EXPECT_THAT(Transitions({Gpa(), "--last", "2"}).transitions(), SizeIs(2));
  EXPECT_THAT(Well({"sites", "show", "loop", Gpa()}),
              AllOf(HasSubstr("Original bytes"), HasSubstr("reverted on request")));
}

TEST_F(History, RefusesWhatMakesNoSense) {
  EXPECT_EQ(daemon_.Run({"sites", "history", "absent"}).code, 3);
  EXPECT_EQ(daemon_.Run({"sites", "history", "loop", "0xfff000"}).code, 3);
  EXPECT_EQ(daemon_.Run({"sites", "history", "loop", "--last", "0"}).code, 2);
}

TEST_F(History, IsExportedWithTheWholeLedger) {
  v1::SiteLedger ledger;
  ASSERT_TRUE(JsonStringToMessage(Well({"sites", "export", "loop"}), &ledger).ok());
  EXPECT_EQ(ledger.vm().name(), "vms/loop");
  EXPECT_NE(ledger.version(), "");
  EXPECT_TRUE(ledger.has_time());
  ASSERT_EQ(ledger.sites_size(), 1);
  EXPECT_EQ(ledger.sites(0).symbol(), "loop_site");
  EXPECT_GE(ledger.transitions_size(), 3);
  EXPECT_THAT(Well({"sites", "export", "loop", "--format", "csv"}),
              AllOf(StartsWith("gpa,gva,symbol,"), HasSubstr("loop_site,0,linked,")));
}

TEST_F(History, OfAVmThatIsOverIsExportedToo) {
  Well({"vm", "stop", "loop", "--force"});
  EXPECT_THAT(Well({"sites", "export", "loop", "--file", File("loop.json")}), IsEmpty());
  v1::SiteLedger ledger;
  ASSERT_TRUE(JsonStringToMessage(Contents("loop.json"), &ledger).ok());
  EXPECT_EQ(ledger.vm().state(), v1::Vm::STOPPED);
  EXPECT_EQ(ledger.sites_size(), 1);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(History, AnExportThatFailsLeavesNoFile) {
  EXPECT_EQ(daemon_.Run({"sites", "export", "absent", "--file", File("absent.json")}).code, 3);
  EXPECT_EQ(daemon_.Run({"sites", "export", "loop", "--file", "/nonexistent/file"}).code, 2);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(History, LedgersAreCompared) {
  Well({"vm", "pause", "loop"});
  Well({"sites", "export", "loop", "--file", File("before.json")});
  const Result same = daemon_.Run({"sites", "diff", File("before.json"), "loop", "--exit-code"});
  EXPECT_EQ(same.code, 0) << same.err;
  EXPECT_THAT(same.out, HasSubstr("0 added, 0 removed, 0 changed, 1 unchanged"));
  Well({"vm", "resume", "loop"});
  Well({"sites", "revert", "loop", Gpa()});
  EXPECT_EQ(daemon_.Run({"sites", "diff", File("before.json"), "loop"}).code, 0);
  const Result differ = daemon_.Run({"sites", "diff", File("before.json"), "loop", "--exit-code"});
  EXPECT_EQ(differ.code, 1);
  EXPECT_THAT(differ.out, AllOf(HasSubstr("before: file "), HasSubstr("after:  VM loop"),
                                HasSubstr("linked -> reverted"), HasSubstr("1 changed")));
  const auto document =
      Json<google::protobuf::Struct>({"sites", "diff", File("before.json"), "loop"});
  EXPECT_EQ(document.fields().at("changed").list_value().values_size(), 1);
}

TEST_F(History, WhatIsNoLedgerIsNotCompared) {
  std::ofstream(File("other.json")) << R"({"some": "document"})";
  const Result other = daemon_.Run({"sites", "diff", File("other.json"), "loop"});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, AllOf(HasSubstr("other.json"), HasSubstr("no site ledger")));
  EXPECT_EQ(daemon_.Run({"sites", "diff", "absent.json", "loop"}).code, 3) << "a file by its name";
  EXPECT_EQ(daemon_.Run({"sites", "diff", "absent", "loop"}).code, 3) << "a VM by its name";
}

TEST_F(History, IsDrawn) {
  const Result result = daemon_.Run(
      {"sites", "plot", "loop", "-o", File("loop.svg"), "--for", "500ms", "--interval", "100ms"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_THAT(result.err, HasSubstr("samples of 1 sites"));
  EXPECT_THAT(Contents("loop.svg"), AllOf(StartsWith("<svg"), HasSubstr("loop_site, linked: "),
                                          HasSubstr("class=\"linked\"/>")));
}

TEST_F(History, ARecordingThatIsCutShortIsDrawn) {
  Process plot(daemon_.Command({"sites", "plot", "loop", "-o", File("loop.svg"), "--for", "1h"}),
               daemon_.environment(), Process::Stdio::kTerminal);
  ASSERT_TRUE(plot.ReadUntil("2 samples")) << plot.out();
  plot.Write("\x03");
  EXPECT_EQ(plot.Wait(), 0) << plot.out();
  EXPECT_THAT(Contents("loop.svg"), HasSubstr("loop_site, linked: "));
}

}  // namespace
}  // namespace trapline::cli_test

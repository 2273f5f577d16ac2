// SPDX-License-Identifier: Apache-2.0
// What is drawn: at the sizes that terminals have and at absurd ones, and never raw what a guest
// chose.
#include "cli/top/frame.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "cli/top/figures.h"
#include "cli/top/lines.h"
#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/cli/top/fixtures.h"

namespace trapline::cli::top {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kEvil[] =
    "\033[2J\xc2\x9b"
    "31mevil\xff\n漢";

// Two sites, one of which was linked in the last second; totals as the daemon would send them.
class Drawn : public OneVm {
 public:
  Drawn() {
    Second(SnapshotOf({SiteOf(0x1e3f0a7, "kvm_send_ipi_mask+0x9c", v1::Site::PATCHED, 1, 0, 0),
                       SiteOf(0x2000, "pv_yield", v1::Site::TRAPPING, 10, 0, 0)}));
    v1::WatchSitesResponse next = ResponseOf(
        {SiteOf(0x1e3f0a7, "kvm_send_ipi_mask+0x9c", v1::Site::LINKED, 2, 12345, 12345 * 46),
         SiteOf(0x2000, "pv_yield", v1::Site::TRAPPING, 22, 0, 0)});
    next.mutable_totals()->set_sites(2);
    next.mutable_totals()->set_linked_calls(12345);
    next.mutable_totals()->set_traps(24);
    next.mutable_totals()->set_patches(3);
    Second(next);
    view.vm = "debian";
  }

  Grid Draw(int rows, int columns, bool utf8 = true) {
    return DrawFrame(model, view, detail, {rows, columns}, {.utf8 = utf8}, now);
  }
  std::vector<std::string> Rows(int rows, int columns, bool utf8 = true) {
    return absl::StrSplit(Draw(rows, columns, utf8).Text(), '\n');
  }

  View view;
  SiteDetail detail;
};

SiteDetail DetailOf(uint64_t gpa) {
  SiteDetail detail;
  detail.key = {"debian", gpa};
  detail.site = SiteOf(gpa, "kvm_send_ipi_mask+0x9c", v1::Site::LINKED, 2, 12345, 567870);
  detail.site->set_original("\x0f\x01\xc1");
  detail.site->set_current("\xcd\x1f\x90");
  detail.site->set_state_reason("call threshold");
  for (int bucket = 0; bucket < 64; ++bucket)
    detail.site->mutable_paths(0)->add_histogram(bucket == 5 ? 900 : bucket == 7 ? 100 : 0);
  auto* trap = detail.site->add_paths();
  trap->set_path(v1::TECHNIQUE_EMULATE);
  trap->set_calls(2);
  trap->set_cycles(48000);
  for (int bucket = 0; bucket < 64; ++bucket) trap->add_histogram(bucket == 8 ? 2 : 0);
  v1::SiteCode code;
  auto* line = code.add_lines();
  line->set_address(0xffffffff81e3f0a7);
  line->set_site(true);
  line->mutable_original()->set_bytes("\x0f\x01\xc1");
  line->mutable_original()->set_text("vmcall");
  line->mutable_current()->set_bytes("\xcd\x1f");
  line->mutable_current()->set_text("int 0x1f");
  auto* trampoline = code.add_trampolines();
  trampoline->set_name("stub");
  trampoline->set_address(0x7000);
  detail.code = code;
  v1::SiteTransition found;
  found.set_to(v1::Site::TRAPPING);
  v1::SiteTransition linked;
  linked.set_from(v1::Site::PATCHED);
  linked.set_to(v1::Site::LINKED);
  linked.set_reason("call threshold");
  linked.set_vcpu(3);
  detail.transitions = {found, linked};
  v1::TraceRecord call;
  call.set_number(10);
  call.set_number_name("send_ipi");
  call.set_path(v1::TECHNIQUE_LINKED);
  call.set_cycles(61);
  detail.calls.push_back(call);
  return detail;
}

TEST(Frame, At80By24HasHeaderSitesAndKeys) {
  Drawn drawn;
  const std::vector<std::string> rows = drawn.Rows(24, 80);
  ASSERT_EQ(rows.size(), 25u);
  EXPECT_THAT(rows[0], StartsWith("debian  running  engine soft"));
  EXPECT_THAT(rows[1], HasSubstr("linked 12.3k"));
  EXPECT_THAT(rows[1], HasSubstr("trap 24"));
  EXPECT_THAT(rows[2], StartsWith("sites 2  patches 3  reverts 0  missed 0  sort calls"));
  EXPECT_EQ(rows[3],
            "SITE       SYMBOL          TECHNIQUE  CALLS/S CYC/CALL   TRAPS RATE   HYPERCALLS");
  EXPECT_EQ(rows[4],
            "0x1e3f0a7  kvm_send_ipi_m~ int→linked   12.3k       46       2      █ send_ipi");
  EXPECT_EQ(rows[5],
            "0x2000     pv_yield        emulate         12        0      22      █ send_ipi");
  EXPECT_THAT(rows[23], AllOf(StartsWith("Enter open  s sort"), EndsWith("q quit")));
}

TEST(Frame, At120By40HasMoreColumnsAndWholeNames) {
  Drawn drawn;
  const std::vector<std::string> rows = drawn.Rows(40, 120);
  EXPECT_THAT(rows[3], AllOf(HasSubstr("CYC/S"), HasSubstr("TRAPS/S")));
  EXPECT_THAT(rows[4], AllOf(HasSubstr("kvm_send_ipi_mask+0x9c"), HasSubstr("interrupt→linked")));
  EXPECT_THAT(rows[39], EndsWith("q quit"));
}

TEST(Frame, At40By10KeepsWhatMatters) {
  Drawn drawn;
  const std::vector<std::string> rows = drawn.Rows(10, 40);
  EXPECT_EQ(rows[3], "SITE       TECHNIQUE    CALLS/S CYC/CALL");
  EXPECT_EQ(rows[4], "0x1e3f0a7  int→linked     12.3k       46");
}

TEST(Frame, AtAbsurdSizesStaysWithinThem) {
  Drawn drawn;
  drawn.detail = DetailOf(0x1e3f0a7);
  for (const bool help : {false, true}) {
    for (const bool open : {false, true}) {
      drawn.view.help = help;
      drawn.view.site_open = open;
      for (const auto& [rows, columns] : std::vector<std::pair<int, int>>{{0, 0},
                                                                          {1, 1},
                                                                          {1, 80},
                                                                          {2, 3},
                                                                          {3, 500},
                                                                          {5, 20},
                                                                          {9, 79},
                                                                          {500, 1},
                                                                          {-3, -7},
                                                                          {1000000, 1000000}}) {
        const Grid grid = drawn.Draw(rows, columns);
        EXPECT_EQ(grid.rows(), std::clamp(rows, 0, Grid::kMaxSide));
        EXPECT_EQ(grid.columns(), std::clamp(columns, 0, Grid::kMaxSide));
      }
    }
  }
}

TEST(Frame, WithoutUtf8IsAscii) {
  Drawn drawn;
  drawn.view.site_open = true;
  drawn.detail = DetailOf(0x1e3f0a7);
  std::string text = drawn.Draw(60, 80, false).Text();
  drawn.view.site_open = false;
  text += drawn.Draw(24, 80, false).Text();
  EXPECT_THAT(text, HasSubstr("int>linked"));
  for (const char c : text) EXPECT_TRUE(c == '\n' || (c >= ' ' && c <= '~'));
}

TEST(Frame, ShowsNothingRawThatAGuestChose) {
  Drawn drawn;
  drawn.Second(ResponseOf({SiteOf(0x2000, kEvil, v1::Site::TRAPPING, 9999, 0, 0)}));
  EXPECT_THAT(drawn.Draw(24, 80).Text(), HasSubstr("?[2J?31mevil???"));
  drawn.detail = DetailOf(0x2000);
  drawn.detail.site->set_symbol(kEvil);
  drawn.detail.code->mutable_lines(0)->mutable_original()->set_text(kEvil);
  drawn.view.site_open = true;
  const Grid page = drawn.Draw(200, 120);
  EXPECT_THAT(page.Text(), HasSubstr("?[2J"));
  for (int row = 0; row < page.rows(); ++row) {
    for (int column = 0; column < page.columns(); ++column) {
      const char32_t symbol = page.at(row, column).symbol;
      EXPECT_TRUE((symbol >= U' ' && symbol <= U'~') || (symbol > 0x2000 && symbol < 0x2600));
    }
  }
}

TEST(Frame, AMarkOfAChangeWearsOff) {
  Drawn drawn;
  drawn.now += kMarkedFor;
  EXPECT_THAT(drawn.Rows(24, 80)[4], AllOf(HasSubstr("linked"), Not(HasSubstr("→"))));
}

TEST(Frame, SaysThatTheDaemonHasGoneAndThatItIsPaused) {
  Drawn drawn;
  drawn.view.paused = true;
  drawn.model.SetLink("debian", Link::kLost, "no daemon answers");
  const std::vector<std::string> rows = drawn.Rows(24, 80);
  EXPECT_THAT(rows[0], HasSubstr("PAUSED"));
  EXPECT_EQ(rows[22], "debian: no daemon answers; trying again");
  drawn.model.RemoveVm("debian");
  EXPECT_THAT(drawn.Rows(24, 80)[0], HasSubstr("there is no such VM now"));
}

TEST(Frame, OfAllVmsHasAColumnForThem) {
  Drawn drawn;
  drawn.view.vm.clear();
  drawn.model.PutVm(RunningVm("second", v1::ENGINE_DIRECT));
  const std::vector<std::string> rows = drawn.Rows(24, 80);
  EXPECT_THAT(rows[0], StartsWith("all VMs  2  2 running  direct 1  soft 1"));
  EXPECT_THAT(rows[3], StartsWith("VM       SITE"));
  EXPECT_THAT(rows[4], StartsWith("debian   0x1e3f0a7"));
}

TEST(Frame, ShowsTheFilterWhileItIsTypedAndAfterwards) {
  Drawn drawn;
  drawn.view.typing = true;
  drawn.view.listing.filter = "yield";
  EXPECT_THAT(drawn.Rows(24, 80)[22], StartsWith("filter: yield_"));
  drawn.view.typing = false;
  EXPECT_THAT(drawn.Rows(24, 80)[2], EndsWith("filter \"yield\" has 1"));
}

TEST(Frame, HelpNamesEveryKey) {
  Drawn drawn;
  drawn.view.help = true;
  const std::string text = drawn.Draw(24, 80).Text();
  for (const char* key : {"PgUp", "Home", "space", "revert", "pin", "Tab", "follow its calls"})
    EXPECT_THAT(text, HasSubstr(key));
}

TEST(SitePage, HasRecordCyclesCodeTransitionsAndCalls) {
  Drawn drawn;
  drawn.detail = DetailOf(0x1e3f0a7);
  drawn.view.site_open = true;
  const std::string text = drawn.Draw(60, 100).Text();
  EXPECT_THAT(text, HasSubstr("SITE 0x1e3f0a7  kvm_send_ipi_mask+0x9c"));
  EXPECT_THAT(text, HasSubstr("linked  (call threshold)  0f 01 c1 → cd 1f 90"));
  EXPECT_THAT(text, HasSubstr("2 traps, 12,345 fast"));
  EXPECT_THAT(text, HasSubstr("linked, mean 46"));
  EXPECT_THAT(text, HasSubstr("trap, mean 24.0k"));
  EXPECT_THAT(text, HasSubstr("vmcall"));
  EXPECT_THAT(text, HasSubstr("int 0x1f"));
  EXPECT_THAT(text, HasSubstr("leads to stub at 0x7000"));
  EXPECT_THAT(text, HasSubstr("found, emulate"));
  EXPECT_THAT(text, HasSubstr("interrupt→linked  call threshold  by vCPU 3"));
  EXPECT_THAT(text, HasSubstr("send_ipi("));
  EXPECT_EQ(drawn.view.sections.size(), 5u);
  EXPECT_THAT(text, Not(HasSubstr("TRACING")));
  drawn.detail.tracing = true;
  EXPECT_THAT(drawn.Rows(24, 80)[0], HasSubstr("TRACING"));
}

TEST(SitePage, HistogramsStandSideBySide) {
  Drawn drawn;
  drawn.detail = DetailOf(0x1e3f0a7);
  drawn.view.site_open = true;
  const std::vector<std::string> rows = drawn.Rows(60, 80);
  const auto row = [&](const char* begin) {
    const auto found = std::find_if(rows.begin(), rows.end(), [&](const std::string& text) {
      return absl::StartsWith(text, begin);
    });
    return found == rows.end() ? std::string() : *found;
  };
  EXPECT_THAT(row(">= 32"), HasSubstr("900 ████████"));
  EXPECT_EQ(row(">= 64"), ">= 64") << "between those that have some";
  EXPECT_THAT(row(">= 128"), HasSubstr("100 ██"));
  EXPECT_THAT(row(">= 256"), HasSubstr("2 ████████"));
  EXPECT_EQ(row(">= 512"), "");
}

TEST(SitePage, SaysWhatCouldNotBeHad) {
  Drawn drawn;
  drawn.detail = DetailOf(0x1e3f0a7);
  drawn.detail.code.reset();
  drawn.detail.code_trouble = "the guest has unmapped it";
  drawn.detail.transitions.clear();
  drawn.view.site_open = true;
  const std::string text = drawn.Draw(60, 80).Text();
  EXPECT_THAT(text, HasSubstr("the guest has unmapped it"));
  EXPECT_THAT(text, HasSubstr("none"));
}

TEST(SitePage, ScrollsNoFurtherThanItsEnd) {
  Drawn drawn;
  drawn.detail = DetailOf(0x1e3f0a7);
  drawn.view.site_open = true;
  drawn.view.scroll = 100000;
  EXPECT_THAT(drawn.Draw(24, 80).Text(), HasSubstr("send_ipi("));
  EXPECT_EQ(drawn.view.scroll + 21, drawn.view.lines);
}

TEST(Figures, FitInSixCharacters) {
  EXPECT_EQ(Scaled(0), "0");
  EXPECT_EQ(Scaled(0.01), "<0.1");
  EXPECT_EQ(Scaled(0.3), "0.3");
  EXPECT_EQ(Scaled(7), "7");
  EXPECT_EQ(Scaled(9999), "9999");
  EXPECT_EQ(Scaled(12345), "12.3k");
  EXPECT_EQ(Scaled(999999), "1.00M");
  EXPECT_EQ(Scaled(456961571), "457M");
  for (double value = 0.01; value < 1e20; value *= 1.37) EXPECT_LE(Scaled(value).size(), 6u);
}

TEST(Figures, HypercallsAreNamedMostCalledFirst) {
  TrackedSite site;
  site.numbers = {{10, "send_ipi", 5}, {4096, "ping", 9}, {77, "", 1}};
  EXPECT_EQ(NumbersText(site, 40), "ping send_ipi 77");
  EXPECT_EQ(NumbersText(site, 14), "ping +2");
}

TEST(Lines, HaveTheBusiestFirst) {
  Drawn drawn;
  Listing listing;
  const std::string text = LinesOf(drawn.model, listing, 1, drawn.now);
  EXPECT_THAT(text, AllOf(HasSubstr("debian  0x1e3f0a7"), HasSubstr("interrupt>linked"),
                          HasSubstr("calls/s 12.3k"), EndsWith("send_ipi\n")));
}

TEST(Lines, AreADocumentEachAsJson) {
  Drawn drawn;
  Listing listing;
  const std::string text = JsonLineOf(drawn.model, listing, 10, drawn.now);
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  google::protobuf::Struct document;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(text, &document).ok());
  const auto& sites = document.fields().at("sites").list_value();
  ASSERT_EQ(sites.values_size(), 2);
  const auto& first = sites.values(0).struct_value().fields();
  EXPECT_EQ(first.at("name").string_value(), "vms/debian/sites/0x1e3f0a7");
  EXPECT_EQ(first.at("state").string_value(), "LINKED");
  EXPECT_EQ(first.at("changedFrom").string_value(), "PATCHED");
  EXPECT_EQ(first.at("callsPerSecond").number_value(), 12346);
  EXPECT_EQ(first.at("fastCalls").string_value(), "12345");
}

}  // namespace
}  // namespace trapline::cli::top

// SPDX-License-Identifier: Apache-2.0
// Two ledgers: what matches, by which rule, and what must not.
#include "cli/ledger_diff.h"

#include <string>
#include <vector>

#include "cli/ledger_diff_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/ledgers.h"

namespace trapline::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Sites that differ in something, so that each match is among those changed.
std::vector<SiteFigures> Later(std::vector<SiteFigures> sites) {
  for (SiteFigures& site : sites) site.traps += 5;
  return sites;
}

// "before address > after address rule", of each match.
std::vector<std::string> Matches(const std::vector<SiteFigures>& before,
                                 const std::vector<SiteFigures>& after) {
  const v1::SiteLedger then = MakeLedger(before), now = MakeLedger(Later(after));
  const LedgerDiff diff = DiffLedgers(then, now);
  EXPECT_EQ(diff.removed.size() + diff.changed.size(), before.size());
  EXPECT_EQ(diff.added.size() + diff.changed.size(), after.size());
  std::vector<std::string> matches;
  for (const SiteMatch& match : diff.changed) {
    matches.push_back(std::to_string(match.before->gva()) + ">" +
                      std::to_string(match.after->gva()) + " " +
                      std::string(MatchRuleName(match.rule)));
  }
  return matches;
}

TEST(LedgerDiff, TheSameSymbolAndOffsetIsTheSameSite) {
  EXPECT_THAT(Matches({{"f+0x4", 104}, {"g", 200}}, {{"f+0x4", 904}, {"g", 900}}),
              ElementsAre("200>900 symbol", "104>904 symbol"));
}

TEST(LedgerDiff, ANameThatSeveralFunctionsHaveNeedsTheAddressToo) {
  EXPECT_THAT(Matches({{"f+0x4", 104}, {"f+0x4", 204}}, {{"f+0x4", 104}, {"f+0x4", 304}}),
              ElementsAre("104>104 symbol"));
  EXPECT_THAT(Matches({{"f+0x4", 104}, {"f+0x4", 204}}, {{"f+0x4", 304}, {"f+0x4", 404}}),
              IsEmpty());
}

TEST(LedgerDiff, AFunctionThatMovedHasItsSitesInOrder) {
  EXPECT_THAT(
      Matches({{"f+0x4", 104, 5}, {"f+0x10", 116, 10}}, {{"f+0x8", 908, 5}, {"f+0x14", 920, 10}}),
      ElementsAre("104>908 order", "116>920 order"));
}

TEST(LedgerDiff, NoOrderWhereSitesAreMissingOnOneSide) {
  EXPECT_THAT(Matches({{"f+0x4", 104}, {"f+0x10", 116}}, {{"f+0x8", 908}}), IsEmpty());
}

TEST(LedgerDiff, NoOrderWhereTheyMakeOtherCalls) {
  EXPECT_THAT(Matches({{"f+0x4", 104, 5}}, {{"f+0x8", 908, 10}}), IsEmpty());
}

TEST(LedgerDiff, NoOrderWhereTheNameStandsForTwoFunctions) {
  EXPECT_THAT(Matches({{"f+0x4", 104}, {"f+0x10", 216}}, {{"f+0x8", 908}, {"f+0x14", 920}}),
              IsEmpty());
}

TEST(LedgerDiff, NoOrderThatContradictsASiteThatStayed) {
  // The first before stayed as the second after: the order has changed.
  EXPECT_THAT(Matches({{"f+0x8", 108}, {"f+0x10", 116}}, {{"f+0x4", 904}, {"f+0x8", 908}}),
              ElementsAre("108>908 symbol"));
}

TEST(LedgerDiff, WithoutASymbolTheAddressDecides) {
  EXPECT_THAT(Matches({{"", 100}, {"", 200}}, {{"", 100}, {"", 300}}),
              ElementsAre("100>100 address"));
  EXPECT_THAT(Matches({{"", 100}}, {{"f+0x4", 100}}), ElementsAre("100>100 address"));
  EXPECT_THAT(Matches({{"g+0x4", 100}}, {{"f+0x4", 100}}), IsEmpty())
      << "another function is there now";
}

TEST(LedgerDiff, OtherBytesAreAnotherInstruction) {
  v1::SiteLedger before = MakeLedger({{"f+0x4", 104}, {"", 200}});
  v1::SiteLedger after = before;
  for (v1::Site& site : *after.mutable_sites()) site.set_original("\x0f\x01\xd9");
  const LedgerDiff diff = DiffLedgers(before, after);
  EXPECT_THAT(diff.added, SizeIs(2));
  EXPECT_THAT(diff.removed, SizeIs(2));
}

TEST(LedgerDiff, EqualLedgersDoNotDiffer) {
  const v1::SiteLedger ledger = MakeLedger({{"f+0x4", 104}, {"", 200}});
  const LedgerDiff diff = DiffLedgers(ledger, ledger);
  EXPECT_TRUE(diff.empty());
  EXPECT_EQ(diff.unchanged, 2u);
}

TEST(LedgerDiff, SaysWhatChangedAndHowMuchCheaperItIs) {
  const v1::SiteLedger before = MakeLedger({{"f+0x4", 104, 10, 10, 0, 200000}}),
                       after = MakeLedger({{"f+0x4", 104, 10, 0, 10, 0}});
  const LedgerDiff diff = DiffLedgers(before, after);
  ASSERT_THAT(diff.changed, SizeIs(1));
  EXPECT_THAT(diff.changed[0].Changes(),
              ElementsAre("technique", "state", "traps", "cyclesPerCall"));
  EXPECT_DOUBLE_EQ(*diff.changed[0].TimesCheaper(), 20000.0 / 40);
  const std::string text = DiffText({true, "old.json", before}, {false, "a", after}, diff, false);
  EXPECT_THAT(text, HasSubstr("before: file old.json: a"));
  EXPECT_THAT(text, HasSubstr("after:  VM a: a"));
  EXPECT_THAT(text, HasSubstr("trapping -> linked"));
  EXPECT_THAT(text, HasSubstr("20,000 -> 40  500.00x"));
  EXPECT_THAT(text, HasSubstr("0 added, 0 removed, 1 changed, 0 unchanged\n"));
}

TEST(LedgerDiff, ItsDocumentHasTheApisSites) {
  const v1::SiteLedger before = MakeLedger({{"f+0x4", 104}}),
                       after = MakeLedger({{"f+0x4", 104, 10, 7}, {"g", 300}});
  const LedgerDiff diff = DiffLedgers(before, after);
  const auto document = DiffDocument({true, "old.json", before}, {false, "a", after}, diff);
  const auto& fields = document.fields();
  EXPECT_EQ(fields.at("before").struct_value().fields().at("source").string_value(), "file");
  EXPECT_EQ(fields.at("after").struct_value().fields().at("source").string_value(), "vm");
  ASSERT_EQ(fields.at("added").list_value().values_size(), 1);
  EXPECT_EQ(
      fields.at("added").list_value().values(0).struct_value().fields().at("symbol").string_value(),
      "g");
  EXPECT_EQ(fields.at("removed").list_value().values_size(), 0);
  ASSERT_EQ(fields.at("changed").list_value().values_size(), 1);
  const auto& changed = fields.at("changed").list_value().values(0).struct_value().fields();
  EXPECT_EQ(changed.at("matchedBy").string_value(), "symbol");
  EXPECT_EQ(changed.at("after").struct_value().fields().at("traps").string_value(), "7");
}

}  // namespace
}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// The order, the filter, the window and the cursor of the list, and what keys do to them.
#include "cli/top/listing.h"

#include <string>
#include <vector>

#include "cli/top/view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/top/fixtures.h"

namespace trapline::cli::top {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Five sites: 0x1000 calls 100 times a second, 0x2000 200 times, ...
class Five : public OneVm {
 public:
  Five() {
    Second(SnapshotOf(Sites(0)));
    Second(ResponseOf(Sites(1)));
  }
  static std::vector<v1::Site> Sites(uint64_t seconds) {
    std::vector<v1::Site> sites;
    for (uint64_t i = 1; i <= 5; ++i) {
      sites.push_back(SiteOf(i << 12, absl::StrCat("symbol_", 9 - i),
                             i == 3 ? v1::Site::TRAPPING : v1::Site::LINKED, i == 3 ? seconds : 0,
                             seconds * i * 100, seconds * 1000));
    }
    return sites;
  }
  std::vector<uint64_t> Rows(size_t height = 10) {
    std::vector<uint64_t> gpas;
    for (const TrackedSite* site : Arrange(model, view.listing, height).rows)
      gpas.push_back(site->gpa);
    return gpas;
  }
  Request Type(Key key, char character = 0) { return Press(view, {key, character}, model); }
  Request Type(char character) { return Type(Key::kCharacter, character); }

  View view;
};

TEST(Listing, IsRankedByTheRateOfCalls) {
  Five five;
  EXPECT_THAT(five.Rows(), ElementsAre(0x5000, 0x4000, 0x3000, 0x2000, 0x1000));
  five.view.listing.reverse = true;
  EXPECT_THAT(five.Rows(2), ElementsAre(0x1000, 0x2000));
}

TEST(Listing, IsSortedByAnyColumn) {
  Five five;
  five.view.listing.sort = SortBy::kSymbol;
  EXPECT_THAT(five.Rows(2), ElementsAre(0x5000, 0x4000));
  five.view.listing.sort = SortBy::kTrapRate;
  EXPECT_THAT(five.Rows(1), ElementsAre(0x3000));
  five.view.listing.sort = SortBy::kCyclesPerCall;
  EXPECT_THAT(five.Rows(1), ElementsAre(0x1000));
  five.view.listing.sort = SortBy::kSite;
  EXPECT_THAT(five.Rows(3), ElementsAre(0x1000, 0x2000, 0x3000));
  five.view.listing.sort = SortBy::kState;
  EXPECT_THAT(five.Rows(2), ElementsAre(0x3000, 0x1000)) << "emulate, then linked by address";
}

TEST(Listing, NamesOfColumnsCanBeGiven) {
  for (int i = 0; i < kSortColumns; ++i) {
    const auto column = static_cast<SortBy>(i);
    EXPECT_EQ(*SortOf(SortName(column)), column);
  }
  EXPECT_FALSE(SortOf("size").ok());
}

TEST(Listing, IsFilteredByWhatIsSeenOfASite) {
  Five five;
  const auto rows_with = [&](const char* filter) {
    five.view.listing.filter = filter;
    return five.Rows().size();
  };
  EXPECT_EQ(rows_with("SYMBOL_4"), 1u);
  EXPECT_EQ(rows_with("0x30"), 1u);
  EXPECT_EQ(rows_with("emulate"), 1u);
  EXPECT_EQ(rows_with("send_ipi"), 5u);
  EXPECT_EQ(rows_with("debian"), 5u);
  EXPECT_EQ(rows_with("nothing"), 0u);
}

TEST(Listing, TheWindowFollowsTheSiteThatIsHeld) {
  Five five;
  five.view.listing.held = SiteKey{"debian", 0x1000};
  EXPECT_THAT(five.Rows(2), ElementsAre(0x2000, 0x1000));
  five.view.listing.reverse = true;
  EXPECT_THAT(five.Rows(2), ElementsAre(0x1000, 0x2000));
  five.model.RemoveVm("debian");
  EXPECT_THAT(five.Rows(2), IsEmpty());
  EXPECT_FALSE(five.view.listing.held) << "it has gone";
}

TEST(Listing, OfManySitesOnlyTheWindowIsSorted) {
  OneVm vm;
  std::vector<v1::Site> sites;
  for (uint64_t i = 0; i < 100'000; ++i)
    sites.push_back(SiteOf(i << 4, "many", v1::Site::LINKED, 0, 0, 0));
  vm.Second(SnapshotOf(sites));
  sites.resize(50);
  for (uint64_t i = 0; i < sites.size(); ++i) sites[i].set_fast_calls(i);
  vm.Second(ResponseOf(sites));
  Listing listing;
  listing.held = SiteKey{"debian", 30 << 4};
  const Window window = Arrange(vm.model, listing, 5);
  EXPECT_EQ(window.matching, 100'000u);
  EXPECT_EQ(window.cursor, 19u);
  ASSERT_EQ(window.rows.size(), 5u);
  EXPECT_EQ(window.rows.front()->gpa, 34u << 4);
  EXPECT_EQ(window.rows.back()->gpa, 30u << 4);
}

TEST(Keys, MoveTheCursorAndHoldItsSite) {
  Five five;
  five.view.page = 3;
  five.Type(Key::kDown);
  EXPECT_EQ(five.view.listing.held->gpa, 0x4000u);
  five.Type('j');
  EXPECT_EQ(five.view.listing.held->gpa, 0x3000u);
  five.Type('k');
  five.Type(Key::kPageDown);
  EXPECT_EQ(five.view.listing.held->gpa, 0x1000u);
  five.Type(Key::kPageDown);
  EXPECT_EQ(five.view.listing.held->gpa, 0x1000u) << "the last one";
  five.Type(Key::kPageUp);
  EXPECT_EQ(five.view.listing.held->gpa, 0x4000u);
  five.Type(Key::kEnd);
  EXPECT_EQ(five.view.listing.held->gpa, 0x1000u);
  five.Type(Key::kHome);
  EXPECT_FALSE(five.view.listing.held);
}

TEST(Keys, AskForWhatIsToBeDoneToTheSiteAtTheCursor) {
  Five five;
  const Request pin = five.Type('p');
  EXPECT_EQ(pin.kind, Request::Kind::kPin);
  EXPECT_EQ(pin.site.name(), "vms/debian/sites/0x5000");
  EXPECT_EQ(five.view.listing.held->gpa, 0x5000u) << "the answer will be about that one";
  EXPECT_EQ(five.Type('P').kind, Request::Kind::kPatch);
  EXPECT_EQ(five.Type('u').kind, Request::Kind::kInherit);
  EXPECT_EQ(five.Type('v').kind, Request::Kind::kRevert);
  EXPECT_EQ(five.Type('q').kind, Request::Kind::kQuit);
}

TEST(Keys, AskForNothingWhereThereIsNoSite) {
  Five five;
  five.model.RemoveVm("debian");
  EXPECT_EQ(five.Type('p').kind, Request::Kind::kNone);
  EXPECT_TRUE(five.view.status_bad);
  EXPECT_EQ(five.Type(Key::kEnter).kind, Request::Kind::kNone);
  EXPECT_FALSE(five.view.site_open);
}

TEST(Keys, TypeAFilterAndTakeItBack) {
  Five five;
  five.Type('/');
  for (const char character : std::string("qp4")) five.Type(character);
  EXPECT_EQ(five.view.listing.filter, "qp4") << "keys are text now";
  five.Type(Key::kBackspace);
  five.Type(Key::kEnter);
  EXPECT_EQ(five.view.listing.filter, "qp");
  five.Type('/');
  five.Type('x');
  five.Type(Key::kEscape);
  EXPECT_EQ(five.view.listing.filter, "qp");
  five.Type(Key::kEscape);
  EXPECT_EQ(five.view.listing.filter, "");
}

TEST(Keys, SortAndReverse) {
  Five five;
  five.Type('s');
  EXPECT_EQ(five.view.listing.sort, SortBy::kCycles);
  five.Type('<');
  five.Type('<');
  EXPECT_EQ(five.view.listing.sort, SortBy::kSite) << "round to the last";
  five.Type('>');
  EXPECT_EQ(five.view.listing.sort, SortBy::kCalls);
  five.Type('r');
  EXPECT_TRUE(five.view.listing.reverse);
}

TEST(Keys, OpenASiteScrollItAndComeBack) {
  Five five;
  EXPECT_EQ(five.Type(Key::kEnter).kind, Request::Kind::kOpen);
  ASSERT_TRUE(five.view.site_open);
  five.view.page = 10;
  five.view.lines = 40;
  five.view.sections = {0, 8, 20};
  five.Type(Key::kTab);
  EXPECT_EQ(five.view.scroll, 8u);
  five.Type(Key::kTab);
  EXPECT_EQ(five.view.scroll, 20u);
  five.Type(Key::kTab);
  EXPECT_EQ(five.view.scroll, 0u) << "round to the first";
  five.Type(Key::kUp);
  EXPECT_EQ(five.view.scroll, 0u);
  EXPECT_EQ(five.Type('t').kind, Request::Kind::kTrace);
  EXPECT_EQ(five.Type('v').site.gpa, 0x5000u);
  EXPECT_EQ(five.Type(Key::kEscape).kind, Request::Kind::kClose);
  EXPECT_FALSE(five.view.site_open);
}

TEST(Keys, AnyKeyLeavesTheHelp) {
  Five five;
  five.Type('?');
  EXPECT_TRUE(five.view.help);
  EXPECT_EQ(five.Type('q').kind, Request::Kind::kNone);
  EXPECT_FALSE(five.view.help);
}

TEST(Keys, SpaceHoldsTheDisplay) {
  Five five;
  EXPECT_EQ(five.Type(' ').kind, Request::Kind::kPause);
  EXPECT_TRUE(five.view.paused);
}

}  // namespace
}  // namespace trapline::cli::top

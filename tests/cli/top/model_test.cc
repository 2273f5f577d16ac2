// SPDX-License-Identifier: Apache-2.0
// What the model makes of a watch: rates, silence, changes of state, snapshots, VMs that come and
// go.
#include "cli/top/model.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/top/fixtures.h"

namespace trapline::cli::top {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kGpa = 0x1000;

v1::Site Linked(uint64_t calls, uint64_t traps = 0) {
  return SiteOf(kGpa, "pv_ipi", v1::Site::LINKED, traps, calls, calls * 40);
}

TEST(Model, RatesAreWhatWasAddedSinceTheUpdateBefore) {
  OneVm vm;
  vm.Second(SnapshotOf({Linked(1000)}));
  EXPECT_EQ(vm.model.RatesOf(vm.At(kGpa)).calls, 0) << "all its calls may be long ago";
  EXPECT_FALSE(vm.model.has_rates());
  vm.Second(ResponseOf({Linked(1500, 10)}));
  EXPECT_TRUE(vm.model.has_rates());
  EXPECT_DOUBLE_EQ(vm.model.RatesOf(vm.At(kGpa)).calls, 510);
  EXPECT_DOUBLE_EQ(vm.model.RatesOf(vm.At(kGpa)).traps, 10);
  EXPECT_DOUBLE_EQ(vm.model.RatesOf(vm.At(kGpa)).cycles, 500 * 40);
}

TEST(Model, TheTimeThatPassedCountsAndNotTheInterval) {
  OneVm vm;
  vm.Second(SnapshotOf({Linked(0)}));
  vm.now += absl::Seconds(3);
  vm.Second(ResponseOf({Linked(800)}));
  EXPECT_DOUBLE_EQ(vm.model.RatesOf(vm.At(kGpa)).calls, 200);
}

TEST(Model, ASiteThatAnUpdateLeavesOutIsIdle) {
  OneVm vm;
  vm.Second(SnapshotOf({Linked(0)}));
  vm.Second(ResponseOf({Linked(100)}));
  vm.Second(ResponseOf({}));
  EXPECT_EQ(vm.model.RatesOf(vm.At(kGpa)).calls, 0);
  EXPECT_DOUBLE_EQ(vm.model.CyclesPerCall(vm.At(kGpa)), 40) << "that of all its calls";
  EXPECT_THAT(vm.model.HistoryOf(vm.At(kGpa), 3), ElementsAre(0, 100, 0));
}

TEST(Model, ASilentWatchIsOneOfIdleSites) {
  OneVm vm;
  vm.Second(SnapshotOf({Linked(0)}));
  vm.Second(ResponseOf({Linked(100)}));
  EXPECT_FALSE(vm.model.Quieten(vm.now + absl::Seconds(1))) << "it may only be late";
  EXPECT_TRUE(vm.model.Quieten(vm.now + absl::Seconds(2)));
  EXPECT_EQ(vm.model.RatesOf(vm.At(kGpa)).calls, 0);
  vm.now += absl::Seconds(9);
  vm.Second(ResponseOf({Linked(400)}));
  EXPECT_DOUBLE_EQ(vm.model.RatesOf(vm.At(kGpa)).calls, 300)
      << "a second before nothing had changed";
}

TEST(Model, AWatchThatWasLostHasSaidNothingOfTheTimeBetween) {
  OneVm vm;
  vm.Second(SnapshotOf({Linked(0)}));
  vm.model.SetLink("debian", Link::kLost, "no daemon");
  ASSERT_TRUE(vm.model.Quieten(vm.now + absl::Seconds(2)));
  vm.now += absl::Seconds(9);
  vm.Second(SnapshotOf({Linked(1000)}));
  EXPECT_DOUBLE_EQ(vm.model.RatesOf(vm.At(kGpa)).calls, 100);
}

TEST(Model, MissedRevisionsAreCountedAndTheirTimeToo) {
  OneVm vm;
  vm.Second(SnapshotOf({Linked(0)}));
  ASSERT_TRUE(vm.model.Quieten(vm.now + absl::Seconds(2)));
  v1::WatchSitesResponse late = ResponseOf({Linked(400)});
  late.set_missed(2);
  vm.now += absl::Seconds(3);
  vm.Second(late);
  EXPECT_EQ(vm.model.vms().front().missed, 2u);
  EXPECT_DOUBLE_EQ(vm.model.RatesOf(vm.At(kGpa)).calls, 100);
}

TEST(Model, CountersThatWereResetBeginAgain) {
  OneVm vm;
  vm.Second(SnapshotOf({Linked(1000)}));
  vm.Second(ResponseOf({Linked(30)}));
  EXPECT_DOUBLE_EQ(vm.model.RatesOf(vm.At(kGpa)).calls, 30);
}

TEST(Model, AChangeOfStateIsNotedWithWhereItCameFrom) {
  OneVm vm;
  vm.Second(SnapshotOf({Linked(1000)}));
  EXPECT_FALSE(vm.At(kGpa).change) << "not seen to change";
  vm.Second(ResponseOf({SiteOf(kGpa, "pv_ipi", v1::Site::PINNED, 5, 1000, 0)}));
  ASSERT_TRUE(vm.At(kGpa).change);
  EXPECT_EQ(vm.At(kGpa).change->from, v1::Site::LINKED);
  EXPECT_EQ(vm.At(kGpa).change->time, vm.now);
}

TEST(Model, ASiteThatIsFoundRewrittenWasTrappingOnce) {
  OneVm vm;
  vm.Second(SnapshotOf({}));
  vm.Second(ResponseOf({Linked(50, 1)}));
  ASSERT_TRUE(vm.At(kGpa).change);
  EXPECT_EQ(vm.At(kGpa).change->from, v1::Site::TRAPPING);
  EXPECT_DOUBLE_EQ(vm.model.RatesOf(vm.At(kGpa)).calls, 51);
}

TEST(Model, ASnapshotInPiecesReplacesWhatWasKnown) {
  OneVm vm;
  vm.Second(SnapshotOf({Linked(1), SiteOf(0x2000, "gone", v1::Site::TRAPPING, 1, 0, 0)}));
  v1::WatchSitesResponse first = SnapshotOf({Linked(2)});
  first.set_more(true);
  vm.Second(first);
  EXPECT_NE(vm.model.Find({"debian", 0x2000}), nullptr) << "it may be in what follows";
  vm.model.Apply("debian", ResponseOf({SiteOf(0x3000, "new", v1::Site::TRAPPING, 1, 0, 0)}),
                 vm.now);
  EXPECT_EQ(vm.model.Find({"debian", 0x2000}), nullptr);
  EXPECT_NE(vm.model.Find({"debian", 0x3000}), nullptr);
  EXPECT_EQ(vm.model.vms().front().ticks, 2u) << "its pieces are one update";
}

TEST(Model, TotalsBecomeRatesByTheWayIn) {
  OneVm vm;
  v1::WatchSitesResponse response;
  vm.Second(response);
  response.mutable_totals()->set_traps(3);
  response.mutable_totals()->set_interrupt_calls(20);
  response.mutable_totals()->set_linked_calls(4000);
  response.mutable_totals()->set_cycles(90000);
  vm.Second(response);
  EXPECT_THAT(vm.model.vms().front().calls_by_path, ElementsAre(3, 20, 4000));
  EXPECT_DOUBLE_EQ(vm.model.vms().front().cycles_rate, 90000);
}

TEST(Model, VmsThatGoTakeTheirSitesWithThem) {
  Model model(absl::Seconds(1));
  model.SetVms({RunningVm("a"), RunningVm("b"), RunningVm("c")});
  for (const char* id : {"a", "b", "c"}) model.Apply(id, SnapshotOf({Linked(1)}), kStart);
  model.RemoveVm("a");
  EXPECT_EQ(model.Find({"a", kGpa}), nullptr);
  ASSERT_NE(model.Find({"b", kGpa}), nullptr);
  ASSERT_NE(model.Find({"c", kGpa}), nullptr);
  EXPECT_EQ(model.vm(*model.Find({"c", kGpa})).id, "c");
  model.SetVms({RunningVm("c")});
  EXPECT_EQ(model.sites().size(), 1u);
  model.Apply("a", SnapshotOf({Linked(1)}), kStart);
  EXPECT_EQ(model.sites().size(), 1u) << "a response that was under way";
}

TEST(RateHistory, KeepsTheLatestAndSkipsWhatWasIdle) {
  RateHistory history;
  history.Put(1, 5);
  history.Put(4, 7);
  EXPECT_THAT(history.Last(4, 5), ElementsAre(0, 5, 0, 0, 7));
  EXPECT_THAT(history.Last(6, 3), ElementsAre(7, 0, 0));
  EXPECT_THAT(history.Last(4 + RateHistory::kKept, 2), ElementsAre(0, 0));
  EXPECT_EQ(history.Last(1000, 1000).size(), RateHistory::kKept);
}

TEST(RateHistory, IsDrawnAgainstItsLargest) {
  EXPECT_EQ(Sparkline({0, 1, 4, 8}, {.utf8 = true}), " ▁▄█");
  EXPECT_EQ(Sparkline({0, 1, 4, 8}, {.utf8 = false}), " .=#");
  EXPECT_EQ(Sparkline({0, 0}, {.utf8 = true}), "  ");
  EXPECT_EQ(Sparkline({}, {.utf8 = true}), "");
}

}  // namespace
}  // namespace trapline::cli::top

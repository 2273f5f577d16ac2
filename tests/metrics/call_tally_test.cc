// SPDX-License-Identifier: Apache-2.0
// Sums that never go down, whatever becomes of the stats files that they are taken from.
#include "daemon/metrics/call_tally.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "core/hypercall/stats_file.h"
#include "tests/common/scratch.h"

namespace trapline::daemon {
namespace {

using hypercall::SiteState;
using hypercall::StatsFile;
using ::testing::ElementsAre;

constexpr uint64_t kSite = 0x1000, kOtherSite = 0x2000;

class Tally : public ::testing::Test {
 protected:
  Tally() { MakeFile(); }
  ~Tally() override { vm_->Close(); }

  // As the next worker does.
  void MakeFile() {
    auto file = StatsFile::Create(path_, 1);
    EXPECT_TRUE(file.ok()) << file.status();
    file_ = *std::move(file);
    uint32_t index = 0;
    for (uint64_t gpa : {kSite, kOtherSite}) {
      file_->site(index).gpa = gpa;
      file_->site(index).state = static_cast<uint8_t>(SiteState::kLinked);
      file_->site(index).sequence = 2;
      file_->header().site_count = ++index;
    }
  }
  // Of the file as it is now.
  VmTally::Stats Stats() const {
    auto stats = hypercall::StatsReader::Open(path_);
    EXPECT_TRUE(stats.ok()) << stats.status();
    return *std::move(stats);
  }
  void Call(uint32_t site, uint64_t times, size_t path = 0) {
    engine::Bump(file_->counters(0, site).calls[path][0], times);
  }
  void Zero(uint32_t site) {
    for (auto& path : file_->counters(0, site).calls) path[0] = 0;
  }
  std::array<uint64_t, hypercall::kPathCount> Calls() {
    return tally_->Read().by_engine[v1::ENGINE_SOFT].calls;
  }

  const Scratch scratch_;
  const std::string path_ = scratch_ / "stats";
  std::unique_ptr<StatsFile> file_;
  std::shared_ptr<CallTally> tally_ = std::make_shared<CallTally>(2);
  std::shared_ptr<VmTally> vm_ = tally_->Open("a");
};

TEST_F(Tally, AddsUpWhatIsCountedByPath) {
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  Call(0, 5);
  Call(1, 7, 2);
  EXPECT_THAT(Calls(), ElementsAre(5, 0, 7));
  EXPECT_THAT(Calls(), ElementsAre(5, 0, 7)) << "a look alone adds nothing";
  Call(1, 3, 1);
  file_->header().patches = 4;
  file_->header().reverts = 1;
  CallTally::Report report = tally_->Read();
  EXPECT_THAT(report.by_engine[v1::ENGINE_SOFT].calls, ElementsAre(5, 3, 7));
  EXPECT_EQ(report.by_engine[v1::ENGINE_SOFT].patches, 4u);
  EXPECT_EQ(report.by_engine[v1::ENGINE_SOFT].reverts, 1u);
  EXPECT_EQ(report.sites[static_cast<size_t>(SiteState::kLinked)], 2u);
  ASSERT_EQ(report.named.size(), 1u);
  EXPECT_EQ(report.named[0].name, "a");
  EXPECT_THAT(report.named[0].sums.calls, ElementsAre(5, 3, 7));
  EXPECT_EQ(report.named[0].sites, 2u);
  EXPECT_FALSE(report.others);
}

TEST_F(Tally, AResetLosesNothingAndCountsNothingTwice) {
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  Call(0, 100);
  Call(1, 10);
  EXPECT_THAT(Calls(), ElementsAre(110, 0, 0));
  Call(0, 7);  // not looked at before the reset
  vm_->AroundReset(std::nullopt, [&] {
    Zero(0);
    Zero(1);
    Call(0, 2);  // before anybody knows that it is done
    EXPECT_THAT(Calls(), ElementsAre(117, 0, 0));
    return true;
  });
  EXPECT_THAT(Calls(), ElementsAre(119, 0, 0));
  Call(1, 1000);
  EXPECT_THAT(Calls(), ElementsAre(1119, 0, 0));
}

TEST_F(Tally, AResetOfOneSiteLeavesTheOthers) {
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  Call(0, 100);
  Call(1, 10);
  vm_->AroundReset(kSite, [&] {
    Zero(0);
    Call(1, 5);
    return true;
  });
  EXPECT_THAT(Calls(), ElementsAre(115, 0, 0));
  Call(0, 1);
  EXPECT_THAT(Calls(), ElementsAre(116, 0, 0));
}

TEST_F(Tally, AResetThatFailsChangesNothing) {
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  Call(0, 100);
  vm_->AroundReset(std::nullopt, [] { return false; });
  Call(0, 1);
  EXPECT_THAT(Calls(), ElementsAre(101, 0, 0));
}

TEST_F(Tally, CountersThatBeginAnewUnasked) {
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  Call(0, 100);
  EXPECT_THAT(Calls(), ElementsAre(100, 0, 0));
  Zero(0);
  Call(0, 3);
  EXPECT_THAT(Calls(), ElementsAre(103, 0, 0));
}

TEST_F(Tally, TheNextWorkersFileGoesOnFromTheLastOnes) {
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  Call(0, 100);
  EXPECT_THAT(Calls(), ElementsAre(100, 0, 0));
  Call(0, 11);  // never looked at under its name
  MakeFile();
  Call(0, 500);
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  EXPECT_THAT(Calls(), ElementsAre(611, 0, 0));
}

TEST_F(Tally, AVmThatGoesLeavesItsCalls) {
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  Call(0, 100);
  std::filesystem::remove(path_);
  vm_->Close();
  EXPECT_THAT(Calls(), ElementsAre(100, 0, 0));
  EXPECT_TRUE(tally_->Read().named.empty());
  EXPECT_EQ(tally_->Read().sites[static_cast<size_t>(SiteState::kLinked)], 0u);
}

TEST_F(Tally, WhatAnEarlierDaemonSawIsNotCounted) {
  Call(0, 100);
  vm_->Follow(Stats(), v1::ENGINE_SOFT, false);
  EXPECT_THAT(Calls(), ElementsAre(0, 0, 0));
  Call(0, 2);
  EXPECT_THAT(Calls(), ElementsAre(2, 0, 0));
}

TEST_F(Tally, WithoutAFileNothingIsCounted) {
  vm_->Follow(nullptr, v1::ENGINE_SOFT, true);
  EXPECT_THAT(Calls(), ElementsAre(0, 0, 0));
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  Call(0, 1);
  EXPECT_THAT(Calls(), ElementsAre(1, 0, 0));
}

TEST_F(Tally, EstimatedCyclesDoNotFall) {
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  auto& counters = file_->counters(0, 0);
  auto cycles = [&] { return tally_->Read().by_engine[v1::ENGINE_SOFT].cycles[0]; };
  Call(0, 100);
  counters.timed[0] = 1;
  counters.cycles[0] = 50;
  EXPECT_EQ(cycles(), 5000u);
  counters.timed[0] = 2;  // the second took less: 3000 by now
  counters.cycles[0] = 60;
  EXPECT_EQ(cycles(), 5000u);
  Call(0, 100);
  EXPECT_EQ(cycles(), 6000u);
}

TEST_F(Tally, NonsenseSaturates) {
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  for (uint64_t value : {kMost, uint64_t{1}, kMost, uint64_t{5}}) {
    file_->counters(0, 0).calls[0][0] = value;
    EXPECT_THAT(Calls(), ElementsAre(kMost, 0, 0));
  }
}

TEST_F(Tally, VmsBeyondTheLimitAreOthersForGood) {
  vm_->Follow(Stats(), v1::ENGINE_SOFT, true);
  std::vector<std::shared_ptr<VmTally>> more;
  for (const char* name : {"b", "c", "d"}) {
    more.push_back(tally_->Open(name));
    more.back()->Follow(Stats(), v1::ENGINE_SOFT, true);
  }
  Call(0, 10);
  CallTally::Report report = tally_->Read();
  ASSERT_EQ(report.named.size(), 2u);
  EXPECT_EQ(report.named[1].name, "b");
  ASSERT_TRUE(report.others);
  EXPECT_EQ(report.others->sums.calls[0], 20u);
  EXPECT_EQ(report.others->sites, 4u);

  // A named one makes room for one that is new; those that were others stay so.
  vm_->Close();
  more[2]->Close();
  more.push_back(tally_->Open("e"));
  more.back()->Follow(Stats(), v1::ENGINE_SOFT, false);
  Call(0, 1);
  report = tally_->Read();
  ASSERT_EQ(report.named.size(), 2u);
  EXPECT_EQ(report.named[0].name, "b");
  EXPECT_EQ(report.named[1].name, "e");
  EXPECT_EQ(report.named[1].sums.calls[0], 1u);
  EXPECT_EQ(report.others->sums.calls[0], 21u) << "which d has left its calls in";
  EXPECT_EQ(report.by_engine[v1::ENGINE_SOFT].calls[0], 43u);
  for (auto& vm : more) vm->Close();
}

}  // namespace
}  // namespace trapline::daemon

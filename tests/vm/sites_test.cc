// SPDX-License-Identifier: Apache-2.0
// Sites of a running guest: transitions, policy, revert, counters, trace, and the stats file that
// outlives the VM.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/hypercall/stats_reader.h"
#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

using hypercall::SiteState;
using hypercall::Technique;

class Sites : public ::testing::Test {
 protected:
  Sites() {
    path_ = std::filesystem::temp_directory_path() / ("trapline-sites-" + std::to_string(getpid()));
    VmConfig config = GuestConfig("hello", "calls=1000000000000");
    config.stats_path = path_;
    guest_ = std::make_unique<RunningVm>(config);
    EXPECT_TRUE(guest_->vm().Start().ok());
    auto reader = hypercall::StatsReader::Open(path_);
    EXPECT_TRUE(reader.ok()) << reader.status();
    reader_ = *std::move(reader);
  }
  ~Sites() override { std::filesystem::remove(path_); }

  hypercall::SiteView Site() {
    auto sites = reader_->Sites();
    return sites.empty() ? hypercall::SiteView() : sites[0];
  }
  void AwaitState(SiteState state) {
    while (Site().state != state) {
    }
  }

  std::string path_;
  std::unique_ptr<RunningVm> guest_;
  std::unique_ptr<hypercall::StatsReader> reader_;
};

TEST_F(Sites, GetLinkedAndCounted) {
  AwaitState(SiteState::kLinked);
  hypercall::SiteView site = Site();
  EXPECT_THAT(site.original, ::testing::ElementsAre(0x0f, 0x01, 0xc1));
  EXPECT_THAT(site.current, ::testing::ElementsAre(0xcd, 0x1f, 0x90));
  EXPECT_EQ(site.traps(), 1u);
  EXPECT_GE(site.fast_calls(), 16u);
  ASSERT_EQ(site.numbers.size(), 1u);
  EXPECT_EQ(site.numbers[0].number, 4096u);
  uint64_t in_histogram = 0;
  for (uint64_t bucket : site.histograms[0]) in_histogram += bucket;
  EXPECT_EQ(in_histogram, 1u);
}

TEST_F(Sites, FollowTheirPolicyDownAndUp) {
  AwaitState(SiteState::kLinked);
  hypercall::HypercallCore& core = guest_->vm().hypercalls();
  uint64_t gpa = Site().gpa;
  ASSERT_TRUE(core.SetSitePolicy(gpa, hypercall::Policy{Technique::kEmulate, 1, 1}).ok());
  EXPECT_EQ(Site().state, SiteState::kPinned);
  EXPECT_THAT(Site().current, ::testing::ElementsAre(0x0f, 0x01, 0xc1));
  ASSERT_TRUE(core.SetSitePolicy(gpa, hypercall::Policy{Technique::kInterrupt, 1, 1}).ok());
  AwaitState(SiteState::kPatched);
  ASSERT_TRUE(core.SetSitePolicy(gpa, std::nullopt).ok());
  AwaitState(SiteState::kLinked);
  EXPECT_TRUE(absl::IsNotFound(core.SetSitePolicy(gpa + 1, std::nullopt)));
  EXPECT_TRUE(absl::IsInvalidArgument(core.SetPolicy({Technique::kNone, 1, 1})));
}

TEST_F(Sites, AreRevertedWhileTheGuestRuns) {
  AwaitState(SiteState::kLinked);
  hypercall::HypercallCore& core = guest_->vm().hypercalls();
  uint64_t gpa = Site().gpa;
  ASSERT_TRUE(core.Revert(gpa).ok());
  EXPECT_EQ(Site().state, SiteState::kReverted);
  auto bytes = guest_->vm().ReadPhysical(gpa, 3);
  ASSERT_TRUE(bytes.ok());
  EXPECT_THAT(*bytes, ::testing::ElementsAre(std::byte{0x0f}, std::byte{0x01}, std::byte{0xc1}));
  uint64_t traps = Site().traps();
  while (Site().traps() < traps + 100) {
  }
  EXPECT_EQ(Site().state, SiteState::kReverted);
  EXPECT_TRUE(absl::IsFailedPrecondition(core.Revert(gpa)));
}

TEST_F(Sites, EveryCallIsTracedOrCountedAsDropped) {
  AwaitState(SiteState::kLinked);
  hypercall::HypercallCore& core = guest_->vm().hypercalls();
  ASSERT_TRUE(guest_->vm().Pause().ok());
  ASSERT_TRUE(core.ResetCounters(std::nullopt).ok());
  ASSERT_TRUE(core.SetTracing(true).ok());
  auto cursor = reader_->End();
  ASSERT_TRUE(guest_->vm().Resume().ok());
  uint64_t dropped = 0, traced = 0;
  while (traced < 100'000) {
    for (const hypercall::TraceEvent& event : reader_->ReadTrace(&cursor, 1000, &dropped)) {
      ASSERT_EQ(event.number, 4096u);
      ASSERT_EQ(event.result, event.args[0]);
      ++traced;
    }
  }
  ASSERT_TRUE(guest_->vm().Pause().ok());
  for (size_t got = 1; got != 0;) {
    got = reader_->ReadTrace(&cursor, 1000, &dropped).size();
    traced += got;
  }
  EXPECT_EQ(traced + dropped, Site().fast_calls());
}

TEST_F(Sites, OutliveTheirVm) {
  AwaitState(SiteState::kLinked);
  guest_.reset();
  auto reader = hypercall::StatsReader::Open(path_);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->Sites().size(), 1u);
}

TEST_F(Sites, ADamagedStatsFileIsRefused) {
  std::string copy = path_ + ".copy";
  std::filesystem::copy_file(path_, copy, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::resize_file(copy, 100);
  EXPECT_EQ(hypercall::StatsReader::Open(copy).status().code(), absl::StatusCode::kDataLoss);
  std::filesystem::resize_file(copy, 1 << 20);
  EXPECT_EQ(hypercall::StatsReader::Open(copy).status().code(), absl::StatusCode::kDataLoss);
  std::filesystem::remove(copy);
}

}  // namespace
}  // namespace trapline::vm

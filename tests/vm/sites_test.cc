// SPDX-License-Identifier: Apache-2.0
// Sites of a running guest: transitions, policy, revert, counters, trace, and the stats file that
// outlives the VM.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <sstream>

#include "core/engine/direct/probe.h"
#include "core/hypercall/stats_reader.h"
#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

using hypercall::SiteState;
using hypercall::Technique;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

std::string StatsPath() {
  return std::filesystem::temp_directory_path() / ("trapline-sites-" + std::to_string(getpid()));
}

class Sites : public ::testing::TestWithParam<EngineKind> {
 protected:
  Sites() : path_(StatsPath()) {
    VmConfig config = GuestConfig("hello", "calls=1000000000000", 1, GetParam());
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

  // What stands at a site that traps: where `vmcall` itself would not, `ud2` is in its place.
  static std::array<uint8_t, 3> Trapping() {
    bool armed = GetParam() == EngineKind::kDirect &&
                 engine::direct::ProbeHost().vmcall == engine::direct::TrapKind::kSilent;
    if (armed) return {0x0f, 0x0b, 0xc1};
    return {0x0f, 0x01, 0xc1};
  }
  // A linked one: on `direct` a jump, perhaps behind prefixes.
  static void ExpectLinked(const std::array<uint8_t, 3>& bytes) {
    if (GetParam() == EngineKind::kSoft) {
      EXPECT_THAT(bytes, ElementsAre(0xcd, 0x1f, 0x90));
      return;
    }
    auto jump = std::find_if(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte != 0x26; });
    ASSERT_NE(jump, bytes.end());
    EXPECT_EQ(*jump, 0xe9);
  }

  std::string path_;
  std::unique_ptr<RunningVm> guest_;
  std::unique_ptr<hypercall::StatsReader> reader_;
};

TEST_P(Sites, GetLinkedAndCounted) {
  AwaitState(SiteState::kLinked);
  hypercall::SiteView site = Site();
  EXPECT_THAT(site.original, ElementsAre(0x0f, 0x01, 0xc1));
  ExpectLinked(site.current);
  EXPECT_EQ(site.traps(), 1u);
  EXPECT_GE(site.fast_calls(), 16u);
  ASSERT_EQ(site.numbers.size(), 1u);
  EXPECT_EQ(site.numbers[0].number, 4096u);
  uint64_t in_histogram = 0;
  for (uint64_t bucket : site.histograms[0]) in_histogram += bucket;
  EXPECT_EQ(in_histogram, 1u);
}

TEST_P(Sites, FollowTheirPolicyDownAndUp) {
  AwaitState(SiteState::kLinked);
  hypercall::HypercallCore& core = guest_->vm().hypercalls();
  uint64_t gpa = Site().gpa;
  ASSERT_TRUE(core.SetSitePolicy(gpa, hypercall::Policy{Technique::kEmulate, 1, 1}).ok());
  EXPECT_EQ(Site().state, SiteState::kPinned);
  EXPECT_EQ(Site().current, Trapping());
  ASSERT_TRUE(core.SetSitePolicy(gpa, hypercall::Policy{Technique::kInterrupt, 1, 1}).ok());
  AwaitState(SiteState::kPatched);
  EXPECT_THAT(Site().current, ElementsAre(0xcd, 0x1f, 0x90));
  ASSERT_TRUE(core.SetSitePolicy(gpa, std::nullopt).ok());
  AwaitState(SiteState::kLinked);
  EXPECT_TRUE(absl::IsNotFound(core.SetSitePolicy(gpa + 1, std::nullopt)));
  EXPECT_TRUE(absl::IsInvalidArgument(core.SetPolicy({Technique::kNone, 1, 1})));
}

TEST_P(Sites, AreRevertedWhileTheGuestRuns) {
  AwaitState(SiteState::kLinked);
  hypercall::HypercallCore& core = guest_->vm().hypercalls();
  uint64_t gpa = Site().gpa;
  ASSERT_TRUE(core.Revert(gpa).ok());
  EXPECT_EQ(Site().state, SiteState::kReverted);
  auto bytes = guest_->vm().ReadPhysical(gpa, 3);
  ASSERT_TRUE(bytes.ok());
  const auto trapping = Trapping();
  EXPECT_THAT(*bytes, ElementsAreArray(std::as_bytes(std::span(trapping))));
  uint64_t traps = Site().traps();
  while (Site().traps() < traps + 100) {
  }
  EXPECT_EQ(Site().state, SiteState::kReverted);
  EXPECT_TRUE(absl::IsFailedPrecondition(core.Revert(gpa)));
}

TEST_P(Sites, EveryCallIsTracedOrCountedAsDropped) {
  AwaitState(SiteState::kLinked);
  hypercall::HypercallCore& core = guest_->vm().hypercalls();
  ASSERT_TRUE(guest_->vm().Pause().ok());
  ASSERT_TRUE(core.ResetCounters(std::nullopt).ok());
  ASSERT_TRUE(core.SetTracing(true).ok());
  auto cursor = reader_->End();
  ASSERT_TRUE(guest_->vm().Resume().ok());
  uint64_t traced = 0;
  while (traced < 100'000) {
    for (const hypercall::TraceEvent& event : reader_->ReadTrace(&cursor, 1000)) {
      ASSERT_EQ(event.number, 4096u);
      ASSERT_EQ(event.result, event.args[0]);
      ++traced;
    }
  }
  ASSERT_TRUE(guest_->vm().Pause().ok());
  for (size_t got = 1; got != 0;) {
    got = reader_->ReadTrace(&cursor, 1000).size();
    traced += got;
  }
  EXPECT_EQ(traced + reader_->Dropped(cursor), Site().fast_calls());
}

TEST_P(Sites, OutliveTheirVm) {
  AwaitState(SiteState::kLinked);
  guest_.reset();
  auto reader = hypercall::StatsReader::Open(path_);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->Sites().size(), 1u);
}

TEST_P(Sites, ADamagedStatsFileIsRefused) {
  std::string copy = path_ + ".copy";
  std::filesystem::copy_file(path_, copy, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::resize_file(copy, 100);
  EXPECT_EQ(hypercall::StatsReader::Open(copy).status().code(), absl::StatusCode::kDataLoss);
  std::filesystem::resize_file(copy, 1 << 20);
  EXPECT_EQ(hypercall::StatsReader::Open(copy).status().code(), absl::StatusCode::kDataLoss);
  std::filesystem::remove(copy);
}

INSTANTIATE_TEST_SUITE_P(Engines, Sites, ::testing::ValuesIn(TestedEngines()), EngineName);

// Hosts whose instructions are not known to trap, or are known to do what they do here; that sites
// which would trap by themselves are left alone, tests/engine/direct/guest_code_test.cc shows.
class OnHosts : public ::testing::TestWithParam<std::optional<engine::direct::TrapKind>> {};

TEST_P(OnHosts, TheGuestRunsAndItsSiteIsArmedIfNeedBe) {
  engine::direct::HostProbe probe = engine::direct::ProbeHost();
  if (!probe.missing.empty()) GTEST_SKIP() << probe.missing;
  if (GetParam()) probe.vmcall = probe.vmmcall = *GetParam();
  VmConfig config = GuestConfig("hello", "calls=1000", 1, EngineKind::kDirect);
  config.stats_path = StatsPath();
  config.policy = {Technique::kEmulate, 1, 1};
  config.host_probe = probe;
  RunningVm guest(config);
  ASSERT_TRUE(guest.made().ok()) << guest.made();
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_THAT(guest.output(), HasSubstr("hello by hypercall"));
  auto reader = hypercall::StatsReader::Open(config.stats_path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  auto sites = (*reader)->Sites();
  ASSERT_FALSE(sites.empty());
  EXPECT_EQ(sites[0].traps(), 1000u);
  const bool traps = probe.vmcall == engine::direct::TrapKind::kInvalidOpcode ||
                     probe.vmcall == engine::direct::TrapKind::kGeneralProtection;
  EXPECT_EQ(sites[0].current[1], traps ? 0x01 : 0x0b);
  std::filesystem::remove(config.stats_path);
}

INSTANTIATE_TEST_SUITE_P(Probes, OnHosts,
                         ::testing::Values(std::nullopt, engine::direct::TrapKind::kSilent,
                                           engine::direct::TrapKind::kUnknown,
                                           engine::direct::TrapKind::kRewritten));

// Where a hypercall would not trap by itself, nothing is lost by looking too closely: data stays
// what it is. `ambiguous` prints where its bytes are, as "name 0xaddress", and reads them back.
TEST(AmbiguousSites, AreListedAndLeftAlone) {
  if (TestedEngines().size() < 2) GTEST_SKIP() << "engine direct cannot run here";
  const std::string path = StatsPath();
  VmConfig config = GuestConfig("ambiguous", "", 1, EngineKind::kDirect);
  config.stats_path = path;
  RunningVm guest(config);
  ASSERT_TRUE(guest.made().ok()) << guest.made();
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_EQ(guest.vm().exit_status(), -1) << guest.output();
  std::map<std::string, uint64_t> places;
  std::istringstream lines(guest.output());
  std::string name, address;
  while (lines >> name >> address) places[name] = std::stoull(address, nullptr, 16);
  ASSERT_EQ(places.size(), 3u) << guest.output();

  auto reader = hypercall::StatsReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::map<uint64_t, SiteState> states;
  for (const hypercall::SiteView& site : (*reader)->Sites()) states[site.gpa] = site.state;
  EXPECT_EQ(states[places["certain"]], SiteState::kLinked);
  for (const char* unclear : {"table", "unnamed"}) {
    EXPECT_EQ(states[places[unclear]], SiteState::kAmbiguous) << unclear;
    auto bytes = guest.vm().ReadPhysical(places[unclear], 3);
    ASSERT_TRUE(bytes.ok());
    EXPECT_THAT(*bytes, ElementsAre(std::byte{0x0f}, std::byte{0x01}, std::byte{0xc1})) << unclear;
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace trapline::vm

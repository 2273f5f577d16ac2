// SPDX-License-Identifier: Apache-2.0
// One site, patched and reverted under four vCPUs that call through it all the time: every call is
// answered, once, and counted, once.
//
// By policies and the vCPUs' own calls, which takes milliseconds a round; what the engine does to
// the bytes is tried a million times in tests/engine/direct_patch_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "core/hypercall/stats_reader.h"
#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

using hypercall::Policy;
using hypercall::SiteState;
using hypercall::Technique;
using ::testing::HasSubstr;

class Patching : public ::testing::TestWithParam<std::tuple<EngineKind, int>> {
 protected:
  Patching()
      : path_(std::filesystem::temp_directory_path() / absl::StrCat("trapline-patch-", getpid())) {
    const auto [engine, bytes] = GetParam();
    VmConfig config = GuestConfig("answers", absl::StrCat("bytes=", bytes), 4, engine);
    config.stats_path = path_;
    guest_ = std::make_unique<RunningVm>(config);
  }
  ~Patching() override { std::filesystem::remove(path_); }

  hypercall::HypercallCore& core() { return guest_->vm().hypercalls(); }

  // Starts it, and finds the site that all vCPUs use.
  void Start() {
    ASSERT_TRUE(guest_->made().ok()) << guest_->made();
    ASSERT_TRUE(guest_->vm().Start().ok());
    ASSERT_TRUE(guest_->AwaitOutput("answers: site 0x"));
    ASSERT_TRUE(guest_->AwaitOutput("\n"));
    std::string output = guest_->output();
    gpa_ = std::stoull(output.substr(output.find("0x")), nullptr, 16);
    auto reader = hypercall::StatsReader::Open(path_);
    ASSERT_TRUE(reader.ok()) << reader.status();
    reader_ = *std::move(reader);
    while (!FindSite()) sched_yield();
  }
  bool FindSite() {
    for (const hypercall::SiteView& site : reader_->Sites()) {
      if (site.gpa == gpa_) index_ = site.index;
      if (site.gpa == gpa_) return true;
    }
    return false;
  }
  hypercall::SiteView Site() { return reader_->Site(index_).value_or(hypercall::SiteView()); }

  // The vCPUs' own calls take it there.
  void Patch(Technique limit, SiteState state) {
    ASSERT_TRUE(core().SetSitePolicy(gpa_, Policy{limit, 1, 1}).ok());
    while (Site().state != state) sched_yield();
  }
  void PatchAndRevert(uint64_t round) {
    switch (round % 3) {
      case 0:
        Patch(Technique::kLinked, SiteState::kLinked);
        ASSERT_TRUE(core().Revert(gpa_).ok());
        return;
      case 1:
        Patch(Technique::kInterrupt, SiteState::kPatched);
        ASSERT_TRUE(core().SetSitePolicy(gpa_, Policy{Technique::kEmulate, 1, 1}).ok());
        return;
      case 2:
        Patch(Technique::kLinked, SiteState::kLinked);
        Patch(Technique::kInterrupt, SiteState::kPatched);
        ASSERT_TRUE(core().Revert(gpa_).ok());
        return;
    }
  }

  const std::string path_;
  std::unique_ptr<RunningVm> guest_;
  std::unique_ptr<hypercall::StatsReader> reader_;
  uint64_t gpa_ = 0;
  uint32_t index_ = 0;
};

TEST_P(Patching, AnswersEveryCallOnce) {
  ASSERT_NO_FATAL_FAILURE(Start());
  constexpr uint64_t kRounds = 200;
  for (uint64_t i = 0; i < kRounds; ++i) ASSERT_NO_FATAL_FAILURE(PatchAndRevert(i));
  ASSERT_TRUE(guest_->vm().WriteConsole("stop").ok());
  ASSERT_TRUE(guest_->AwaitEnd());
  const auto calls = Site().calls;
  const uint64_t counted = std::accumulate(calls.begin(), calls.end(), uint64_t{0});
  EXPECT_THAT(guest_->output(), HasSubstr(absl::StrCat("answers: ", counted, " calls, 0 wrong\n")));
  for (uint64_t by_path : calls) EXPECT_GT(by_path, 0u);
  EXPECT_EQ(guest_->vm().exit_status(), -1) << guest_->vm().failure_report();
}

INSTANTIATE_TEST_SUITE_P(Sites, Patching,
                         ::testing::Combine(::testing::ValuesIn(TestedEngines()),
                                            ::testing::Values(3, 5)),
                         [](const auto& info) {
                           bool direct = std::get<0>(info.param) == EngineKind::kDirect;
                           return absl::StrCat(direct ? "Direct" : "Soft", "Of",
                                               std::get<1>(info.param), "Bytes");
                         });

}  // namespace
}  // namespace trapline::vm

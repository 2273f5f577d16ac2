// SPDX-License-Identifier: Apache-2.0
// The same guest gives the same results whatever executes it and however its sites are entered:
// generated sequences (guests/sequence.c) and example guests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/engine/direct/probe.h"
#include "core/hypercall/stats_reader.h"
#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

using hypercall::Policy;
using hypercall::SiteState;
using hypercall::Technique;
using ::testing::HasSubstr;

std::string OutputOf(VmConfig config, const Policy& policy) {
  config.policy = policy;
  RunningVm guest(config);
  EXPECT_TRUE(guest.made().ok()) << guest.made();
  if (!guest.made().ok()) return "";
  EXPECT_TRUE(guest.vm().Start().ok());
  EXPECT_TRUE(guest.AwaitEnd());
  EXPECT_EQ(guest.vm().exit_status(), -1)
      << guest.vm().state_reason() << guest.vm().failure_report();
  return guest.output();
}

void ExpectSame(const std::string& expected, const std::string& actual) {
  if (actual == expected) return;
  auto differs = std::mismatch(expected.begin(), expected.end(), actual.begin(), actual.end());
  auto at = static_cast<size_t>(differs.first - expected.begin());
  size_t from = expected.rfind('\n', at == 0 ? 0 : at - 1);
  if (from == std::string::npos) from = 0;
  constexpr size_t kShown = 160;
  ADD_FAILURE() << "at " << at << ": expected " << absl::CEscape(expected.substr(from, kShown))
                << "\ngot " << absl::CEscape(actual.substr(from, kShown));
}

// The engine, and the policy with its name.
struct Way {
  EngineKind engine;
  std::string name;
  Policy policy;
};

void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }

std::vector<Way> AllWays() {
  constexpr uint32_t kNever = 1'000'000'000;
  const std::pair<std::string, Policy> policies[] = {
      {"Emulate", {Technique::kEmulate, 1, 1}},
      {"Interrupt", {Technique::kInterrupt, 1, 1}},
      {"InterruptLate", {Technique::kInterrupt, 20, 1}},
      {"Linked", {Technique::kLinked, 1, 1}},
      {"LinkedLate", {Technique::kLinked, 5, 10}},
      {"LinkedNever", {Technique::kLinked, kNever, kNever}},
  };
  std::vector<Way> ways;
  for (EngineKind engine : TestedEngines()) {
    for (const auto& [name, policy] : policies) {
      std::string prefix = engine == EngineKind::kDirect ? "Direct" : "Soft";
      ways.push_back({engine, prefix + name, policy});
    }
  }
  return ways;
}

class Agreement : public ::testing::TestWithParam<Way> {};

TEST_P(Agreement, OfGeneratedSequences) {
  const bool cpuid =
      GetParam().engine == EngineKind::kSoft || engine::direct::ProbeHost().cpuid_faults;
  for (uint64_t seed : {1u, 2u, 3u, 20081208u}) {
    SCOPED_TRACE(absl::StrCat("seed=", seed));
    const auto& [engine, name, policy] = GetParam();
    std::string options =
        absl::StrCat("count=2000 seed=", seed, " technique=", static_cast<int>(policy.limit),
                     cpuid ? "" : " nocpuid");
    // The oracle: `soft` with every call a trap.
    std::string expected = OutputOf(GuestConfig("sequence", options, 1, EngineKind::kSoft),
                                    {Technique::kEmulate, 1, 1});
    ASSERT_THAT(expected, HasSubstr("sequence: done\n"));
    ExpectSame(expected, OutputOf(GuestConfig("sequence", options, 1, engine), policy));
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, Agreement, ::testing::ValuesIn(AllWays()),
                         [](const auto& info) { return info.param.name; });

// Else the sequences would not show what they are to show.
TEST(Sequences, ComeInByEveryWay) {
  for (EngineKind engine : TestedEngines()) {
    SCOPED_TRACE(engine == EngineKind::kDirect ? "direct" : "soft");
    const std::string path =
        std::filesystem::temp_directory_path() / absl::StrCat("trapline-agreement-", getpid());
    VmConfig config = GuestConfig("sequence", "count=3000 nocpuid", 1, engine);
    config.stats_path = path;
    OutputOf(config, {Technique::kLinked, 1, 1});
    auto reader = hypercall::StatsReader::Open(path);
    ASSERT_TRUE(reader.ok()) << reader.status();
    std::map<SiteState, int> sites;
    std::array<uint64_t, hypercall::kPathCount> calls{};
    for (const hypercall::SiteView& site : (*reader)->Sites()) {
      ++sites[site.state];
      for (size_t i = 0; i < calls.size(); ++i) calls[i] += site.calls[i];
    }
    // Three of each kind of punned jump at least, and those of five bytes.
    EXPECT_GE(sites[SiteState::kLinked], 8);
    EXPECT_EQ(sites[SiteState::kDirect], 2);
    // `direct` has no jump for those that end in _nowhere.
    EXPECT_EQ(sites[SiteState::kPatched] >= 2, engine == EngineKind::kDirect);
    for (uint64_t by_path : calls) EXPECT_GE(by_path, 10u);
    std::filesystem::remove(path);
  }
}

TEST(Examples, SayTheSameOnEveryEngine) {
  for (const auto& [name, options] :
       {std::pair{"hello", ""}, std::pair{"smp", ""}, std::pair{"events", "once"}}) {
    SCOPED_TRACE(name);
    std::string expected = OutputOf(GuestConfig(name, options, 2, EngineKind::kSoft), Policy());
    for (EngineKind engine : TestedEngines())
      ExpectSame(expected, OutputOf(GuestConfig(name, options, 2, engine), Policy()));
  }
}

}  // namespace
}  // namespace trapline::vm

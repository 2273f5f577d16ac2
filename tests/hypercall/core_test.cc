// SPDX-License-Identifier: Apache-2.0
// Policies, transitions and counters, call by call. That they are right while vCPUs execute is for
// tests/vm to show.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>

#include "core/guest/abi.h"
#include "core/hypercall/stats_reader.h"
#include "tests/hypercall/fakes.h"

namespace trapline::hypercall {
namespace {

using engine::HypercallOutcome;
using ::testing::ElementsAre;

constexpr uint64_t kSite = 0x1230;
constexpr std::byte kVmcall[] = {std::byte{0x0f}, std::byte{0x01}, std::byte{0xc1}};
constexpr uint8_t kRewritten[] = {0xcd, 0x1f, 0x90};

class Core : public ::testing::Test {
 protected:
  Core() : path_(testing::TempDir() + "trapline-core-" + std::to_string(getpid())) {
    auto stats = StatsFile::Create(path_, FakeHost::kVcpus);
    EXPECT_TRUE(stats.ok()) << stats.status();
    core_ = std::make_unique<HypercallCore>(engine_, host_, host_, *std::move(stats), Policy(),
                                            [this](const SiteEvent& e) { events_.push_back(e); });
    reader_ = *StatsReader::Open(path_);
    Place(kSite);
  }
  ~Core() override { unlink(path_.c_str()); }

  void Place(uint64_t gpa) { std::copy_n(kVmcall, 3, host_.memory.begin() + gpa); }
  HypercallOutcome Trap(uint64_t gpa = kSite, uint64_t third_gpa = 0) {
    engine::Exit::Trap trap;
    trap.gva = gpa;
    trap.cpl = cpl_;
    trap.long_mode = true;
    trap.length = 3;
    std::copy_n(kVmcall, 3, trap.bytes);
    trap.gpa[0] = gpa;
    trap.gpa[1] = gpa + 1;
    trap.gpa[2] = third_gpa ? third_gpa : gpa + 2;
    trap.raised = 1;
    cpu_.rip = gpa;
    cpu_.gpr[x86::kRax] = TRAPLINE_HC_PING;
    cpu_.gpr[x86::kRbx] = 42;
    return core_->OnTrap(0, cpu_, trap);
  }
  HypercallOutcome Interrupt(uint64_t gpa = kSite, uint64_t number = TRAPLINE_HC_PING,
                             uint32_t vcpu = 0) {
    cpu_.rip = gpa;
    cpu_.gpr[x86::kRax] = number;
    auto frame = cpu_.Frame();
    frame.cpl = cpl_;
    return core_->OnHypercallInterrupt(vcpu, frame, gpa);
  }
  HypercallOutcome Linked(uint64_t number = TRAPLINE_HC_PING) {
    void* site = core_->ResolveLinkedSite(kSite);
    if (!site) return HypercallOutcome::kNotOurs;
    cpu_.gpr[x86::kRax] = number;
    auto frame = cpu_.Frame();
    frame.cpl = cpl_;
    return core_->OnLinkedHypercall(0, site, frame);
  }
  SiteView Site(size_t index = 0) {
    auto sites = reader_->Sites();
    if (index < sites.size()) return sites[index];
    SiteView none;
    none.state = SiteState::kNone;
    return none;
  }
  std::vector<uint8_t> Bytes(uint64_t gpa = kSite) {
    auto* at = reinterpret_cast<const uint8_t*>(host_.memory.data() + gpa);
    return {at, at + 3};
  }
  void Link() {
    Trap();
    for (int i = 0; i < 16; ++i) Interrupt();
  }

  const std::string path_;
  FakeHost host_;
  FakeEngine engine_{host_};
  FakeVcpu cpu_;
  uint8_t cpl_ = 0;
  std::vector<SiteEvent> events_;
  std::unique_ptr<HypercallCore> core_;
  std::unique_ptr<StatsReader> reader_;
};

TEST_F(Core, ATrapIsServedAndTheSiteRewritten) {
  EXPECT_EQ(Trap(), HypercallOutcome::kServed);
  EXPECT_EQ(cpu_.gpr[x86::kRax], 42u);
  EXPECT_EQ(cpu_.rip, kSite + 3);
  EXPECT_THAT(Bytes(), ElementsAre(0xcd, 0x1f, 0x90));
  EXPECT_THAT(engine_.shadowed, ElementsAre(0x1000));
  EXPECT_EQ(Site().state, SiteState::kPatched);
  ASSERT_EQ(events_.size(), 2u);
  EXPECT_EQ(events_[1].reason, Reason::kTrapThreshold);
}

TEST_F(Core, AHypercallInUserModeIsNone) {
  cpl_ = 3;
  EXPECT_EQ(Trap(), HypercallOutcome::kNotOurs);
  EXPECT_EQ(Site().state, SiteState::kNone);
  cpl_ = 0;
  Trap();
  cpl_ = 3;
  EXPECT_EQ(Interrupt(), HypercallOutcome::kInvalidOpcode);
  cpl_ = 0;
  for (int i = 0; i < 16; ++i) Interrupt();
  cpl_ = 3;
  EXPECT_EQ(Linked(), HypercallOutcome::kInvalidOpcode);
  EXPECT_EQ(Site().fast_calls(), 16u);
}

TEST_F(Core, ThresholdsAreCountedFromTheTransition) {
  ASSERT_TRUE(core_->SetPolicy({Technique::kLinked, 3, 5}).ok());
  Trap();
  Trap();
  EXPECT_EQ(Site().state, SiteState::kTrapping);
  Trap();
  EXPECT_EQ(Site().state, SiteState::kPatched);
  for (int i = 0; i < 4; ++i) Interrupt();
  EXPECT_EQ(Site().state, SiteState::kPatched);
  Interrupt();
  EXPECT_EQ(Site().state, SiteState::kLinked);
  EXPECT_EQ(Linked(), HypercallOutcome::kServed);
  EXPECT_THAT(Site().calls, ElementsAre(3, 5, 1));
}

TEST_F(Core, ALimitIsNotPassed) {
  ASSERT_TRUE(core_->SetPolicy({Technique::kInterrupt, 1, 1}).ok());
  Trap();
  for (int i = 0; i < 100; ++i) Interrupt();
  EXPECT_EQ(Site().state, SiteState::kPatched);
  ASSERT_TRUE(core_->SetPolicy({Technique::kLinked, 1, 1}).ok());
  Interrupt();
  EXPECT_EQ(Site().state, SiteState::kLinked);
}

TEST_F(Core, ANewSiteUnderEmulateIsPinned) {
  ASSERT_TRUE(core_->SetPolicy({Technique::kEmulate, 1, 1}).ok());
  for (int i = 0; i < 10; ++i) Trap();
  EXPECT_EQ(Site().state, SiteState::kPinned);
  EXPECT_THAT(Bytes(), ElementsAre(0x0f, 0x01, 0xc1));
  EXPECT_EQ(Site().traps(), 10u);
}

TEST_F(Core, ASitesOwnPolicyGoesBeforeTheVms) {
  Link();
  ASSERT_TRUE(core_->SetSitePolicy(kSite, Policy{Technique::kInterrupt, 1, 1}).ok());
  EXPECT_EQ(Site().state, SiteState::kPatched);
  ASSERT_TRUE(core_->SetPolicy({Technique::kEmulate, 1, 1}).ok());
  EXPECT_EQ(Site().state, SiteState::kPatched);
  ASSERT_TRUE(core_->SetSitePolicy(kSite, std::nullopt).ok());
  EXPECT_EQ(Site().state, SiteState::kPinned);
  EXPECT_THAT(engine_.shadowed, ElementsAre());
}

// An engine that serves a settled site by itself would never let it come any further.
TEST_F(Core, ASiteThatMayGoOnIsNotSettled) {
  Link();
  EXPECT_TRUE(engine_.settled[kSite]);
  ASSERT_TRUE(core_->SetSitePolicy(kSite, Policy{Technique::kInterrupt, 1, 1}).ok());
  EXPECT_TRUE(engine_.settled[kSite]);
  ASSERT_TRUE(core_->SetSitePolicy(kSite, std::nullopt).ok());
  EXPECT_EQ(Site().state, SiteState::kPatched);
  EXPECT_FALSE(engine_.settled[kSite]);
}

// A call was due to move the site on, and then the policy came first.
TEST_F(Core, APolicyThatComesBetweenIsKept) {
  ASSERT_TRUE(core_->SetPolicy({Technique::kLinked, 1, 2}).ok());
  Trap();
  Interrupt();
  engine_.before_exclusive = [this] {
    EXPECT_TRUE(core_->SetSitePolicy(kSite, Policy{Technique::kInterrupt, 1, 2}).ok());
  };
  Interrupt();
  EXPECT_EQ(Site().state, SiteState::kPatched);
}

TEST_F(Core, ASiteThatHasStartedOverMeanwhileCountsAnew) {
  Trap();
  Link();
  ASSERT_TRUE(core_->Revert(kSite).ok());
  ASSERT_TRUE(core_->SetSitePolicy(kSite, Policy{Technique::kInterrupt, 2, 1}).ok());
  Trap();
  engine_.before_exclusive = [this] {
    EXPECT_TRUE(core_->SetSitePolicy(kSite, Policy{Technique::kEmulate, 2, 1}).ok());
    EXPECT_TRUE(core_->SetSitePolicy(kSite, Policy{Technique::kInterrupt, 2, 1}).ok());
  };
  Trap();
  EXPECT_EQ(Site().state, SiteState::kTrapping);
}

TEST_F(Core, AReaderSeesEveryStateAndReason) {
  core_->ListAmbiguous(kSite);
  EXPECT_EQ(Site().state, SiteState::kAmbiguous);
  EXPECT_EQ(Site().reason, Reason::kUnconfirmed);
  engine_.refuse_link = engine::RewriteResult::kJumpUnplanned;
  Link();
  EXPECT_EQ(Site().state, SiteState::kPatched);
  EXPECT_EQ(Site().reason, Reason::kJumpUnplanned);
}

TEST_F(Core, APolicyThatMakesNoSenseIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(core_->SetPolicy({Technique::kNone, 1, 1})));
  EXPECT_TRUE(absl::IsInvalidArgument(core_->SetPolicy({Technique::kLinked, 0, 1})));
  EXPECT_TRUE(absl::IsInvalidArgument(core_->SetPolicy({Technique::kLinked, 1, 0})));
  EXPECT_TRUE(absl::IsNotFound(core_->SetSitePolicy(0x5000, std::nullopt)));
}

TEST_F(Core, RevertedStaysSoUntilAPolicyOfItsOwn) {
  Link();
  ASSERT_TRUE(core_->Revert(kSite).ok());
  EXPECT_THAT(Bytes(), ElementsAre(0x0f, 0x01, 0xc1));
  Trap();
  ASSERT_TRUE(core_->SetPolicy(Policy()).ok());
  EXPECT_EQ(Site().state, SiteState::kReverted);
  EXPECT_TRUE(absl::IsFailedPrecondition(core_->Revert(kSite)));
  ASSERT_TRUE(core_->SetSitePolicy(kSite, Policy()).ok());
  Trap();
  EXPECT_EQ(Site().state, SiteState::kPatched);
}

TEST_F(Core, ASiteOverTwoPagesIsNeverRewritten) {
  constexpr uint64_t kSpanning = 0x1ffe;
  Place(kSpanning);
  for (int i = 0; i < 3; ++i) Trap(kSpanning, 0x7000);
  EXPECT_EQ(Site().state, SiteState::kTrapping);
  EXPECT_EQ(Site().reason, Reason::kSpansPages);
  EXPECT_THAT(Bytes(kSpanning), ElementsAre(0x0f, 0x01, 0xc1));
  EXPECT_EQ(Site().traps(), 3u);
  // Not even where the pages lie side by side: another mapping may join others.
  Trap(kSpanning);
  EXPECT_EQ(Site().state, SiteState::kTrapping);
}

TEST_F(Core, WhatTheGuestWritesOverIsRetiredAndMayComeBack) {
  Link();
  core_->BeforeShadowedWrite(0, kSite + 2, 8);
  EXPECT_THAT(Bytes(), ElementsAre(0x0f, 0x01, 0xc1));
  EXPECT_EQ(Site().state, SiteState::kRetired);
  EXPECT_EQ(Site().reason, Reason::kOverwritten);
  EXPECT_EQ(core_->ResolveLinkedSite(kSite), nullptr);
  EXPECT_EQ(Interrupt(), HypercallOutcome::kNotOurs);
  Trap();
  EXPECT_EQ(Site().state, SiteState::kPatched);
  EXPECT_EQ(reader_->Sites().size(), 1u);
}

TEST_F(Core, AWriteBesideASiteLeavesIt) {
  Link();
  core_->BeforeShadowedWrite(0, kSite + 3, 8);
  core_->BeforeShadowedWrite(0, kSite - 8, 8);
  EXPECT_EQ(Site().state, SiteState::kLinked);
}

TEST_F(Core, AReaderSeesTheOriginalBytesInAnyWindow) {
  Trap();
  for (uint64_t gpa = kSite - 4; gpa < kSite + 4; ++gpa) {
    for (size_t size : {1, 2, 4, 8}) {
      std::vector<std::byte> seen(host_.memory.begin() + static_cast<ptrdiff_t>(gpa),
                                  host_.memory.begin() + static_cast<ptrdiff_t>(gpa + size));
      core_->OverlayOriginal(gpa, seen, false);
      for (size_t i = 0; i < size; ++i) {
        uint64_t at = gpa + i - kSite;
        EXPECT_EQ(seen[i], at < 3 ? kVmcall[at] : std::byte{0}) << gpa << "+" << i;
      }
    }
  }
}

TEST_F(Core, AFetchFindsTheRewrittenSiteOnlyFromItsStart) {
  Trap();
  std::byte bytes[4];
  host_.ReadGuest(kSite, bytes);
  core_->OverlayOriginal(kSite, bytes, true);
  EXPECT_EQ(std::memcmp(bytes, kRewritten, 3), 0);
  host_.ReadGuest(kSite - 1, bytes);
  core_->OverlayOriginal(kSite - 1, bytes, true);
  EXPECT_EQ(std::memcmp(bytes + 1, kVmcall, 3), 0);
}

TEST_F(Core, ASiteThatChangedSinceItsTrapIsNotRewritten) {
  host_.memory[kSite] = std::byte{0x90};
  Trap();
  EXPECT_EQ(Site().state, SiteState::kTrapping);
  EXPECT_THAT(Bytes(), ElementsAre(0x90, 0x01, 0xc1));
}

TEST_F(Core, TheGuestsOwnInterruptIsItsOwn) {
  EXPECT_EQ(Interrupt(0x2000), HypercallOutcome::kNotOurs);
  ASSERT_TRUE(core_->RegisterDirectSites(0x2000, 0x10));
  EXPECT_EQ(Interrupt(0x2000), HypercallOutcome::kServed);
  EXPECT_EQ(Interrupt(0x2010), HypercallOutcome::kNotOurs);
  EXPECT_EQ(Interrupt(0x1fff), HypercallOutcome::kNotOurs);
  EXPECT_EQ(Site().state, SiteState::kDirect);
  EXPECT_FALSE(core_->RegisterDirectSites(~uint64_t{0}, 2));
  EXPECT_FALSE(core_->RegisterDirectSites(0x2000, 0));
}

TEST_F(Core, CallsAreCountedByNumberAndTheRestTogether) {
  ASSERT_TRUE(core_->SetPolicy({Technique::kInterrupt, 1, 1}).ok());
  Trap();
  for (uint64_t number = 0; number < 20; ++number) {
    for (uint64_t i = 0; i <= number; ++i) Interrupt(kSite, 100 + number);
  }
  auto numbers = Site().numbers;
  ASSERT_EQ(numbers.size(), kNumbersPerSite);
  EXPECT_EQ(numbers[0].number, uint64_t{TRAPLINE_HC_PING});
  EXPECT_EQ(numbers[0].calls, 1u);
  EXPECT_EQ(numbers[3].number, 102u);
  EXPECT_EQ(numbers[3].calls, 3u);
  uint64_t all = 0;
  for (const NumberCount& count : numbers) all += count.calls;
  EXPECT_EQ(all, Site().traps() + Site().fast_calls());
}

TEST_F(Core, EveryCallIsCountedAndSomeAreTimed) {
  Link();
  for (int i = 0; i < 6400; ++i) Linked();
  auto timed = [&] {
    Histogram histogram = Site().histograms[static_cast<size_t>(Path::kLinked)];
    return std::accumulate(histogram.begin(), histogram.end(), uint64_t{0});
  };
  EXPECT_EQ(Site().calls[static_cast<size_t>(Path::kLinked)], 6400u);
  uint64_t before = timed();
  EXPECT_GE(before, 100u);
  EXPECT_LT(before, 200u);
  // The first behind an interruption is.
  for (int i = 0; i < 10; ++i) {
    core_->BeginEpoch(0);
    Linked();
  }
  EXPECT_GE(timed(), before + 10);
}

TEST_F(Core, TracedCallsAreRecordedWhole) {
  Link();
  auto cursor = reader_->End();
  ASSERT_TRUE(core_->SetTracing(true).ok());
  cpu_.gpr[x86::kRbx] = 7;
  for (int i = 0; i < 100; ++i) Linked();
  ASSERT_TRUE(core_->SetTracing(false).ok());
  Linked();
  auto events = reader_->ReadTrace(&cursor, 1000);
  ASSERT_EQ(events.size(), 100u);
  EXPECT_EQ(reader_->Dropped(cursor), 1u) << "the one behind the end";
  EXPECT_EQ(events[0].number, uint64_t{TRAPLINE_HC_PING});
  EXPECT_EQ(events[0].args[0], 7u);
  EXPECT_EQ(events[0].result, 7u);
  EXPECT_EQ(events[0].path, Path::kLinked);
}

TEST_F(Core, EveryCallOfALoopIsRecordedOrCountedAsDropped) {
  constexpr uint64_t kCalls = 1'000'000;
  Link();
  ASSERT_TRUE(core_->ResetCounters(std::nullopt).ok());
  auto cursor = reader_->End();
  ASSERT_TRUE(core_->SetTracing(true).ok());
  uint64_t read = 0;
  for (uint64_t i = 0; i < kCalls; ++i) {
    Linked();
    if (i % 10'000 == 0) read += reader_->ReadTrace(&cursor, kTraceCapacity).size();
  }
  while (size_t more = reader_->ReadTrace(&cursor, kTraceCapacity).size()) read += more;
  EXPECT_GE(read, kCalls / 64);
  EXPECT_EQ(read + reader_->Dropped(cursor), kCalls);
  EXPECT_EQ(Site().fast_calls(), kCalls);
}

TEST_F(Core, TheLastCallsAreOnRecordThoughNobodyTraces) {
  Trap();
  cpu_.gpr[x86::kRbx] = 9;
  auto last = [&] { return reader_->OnRecord(10); };
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (last().empty() || last().back().args[0] != 9) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    core_->BeginEpoch(0);
    Interrupt(kSite, TRAPLINE_HC_PING);
  }
  EXPECT_EQ(last().front().path, Path::kTrap);
  EXPECT_EQ(last().back().path, Path::kInterrupt);
}

TEST_F(Core, EveryTransitionIsWrittenDownWithThePolicyInForce) {
  host_.now = 7;
  Link();
  ASSERT_TRUE(core_->Revert(kSite).ok());
  uint64_t lost = 0;
  auto transitions = reader_->Transitions(0, 100, &lost);
  ASSERT_EQ(transitions.size(), 4u);
  const SiteState states[] = {SiteState::kNone, SiteState::kTrapping, SiteState::kPatched,
                              SiteState::kLinked, SiteState::kReverted};
  for (size_t i = 0; i < transitions.size(); ++i) {
    EXPECT_EQ(transitions[i].sequence, i + 1);
    EXPECT_EQ(transitions[i].from, states[i]);
    EXPECT_EQ(transitions[i].to, states[i + 1]);
    EXPECT_EQ(transitions[i].time_ns, 7u);
    EXPECT_EQ(transitions[i].vcpu, i < 3 ? 0 : kNoVcpu);
    EXPECT_EQ(transitions[i].policy.limit, core_->policy().limit);
    EXPECT_EQ(transitions[i].policy.linked_after, core_->policy().linked_after);
  }
  EXPECT_EQ(transitions[3].reason, Reason::kRevertedByUser);
  SiteSums sums = reader_->Survey(nullptr);
  EXPECT_EQ(sums.transitions, 4u);
  EXPECT_EQ(sums.patches, 2u);
  EXPECT_EQ(sums.reverts, 1u);
}

TEST_F(Core, ACounterResetZeroesOneSiteOrAll) {
  Place(0x3000);
  Trap();
  Trap(0x3000);
  ASSERT_TRUE(core_->ResetCounters(kSite).ok());
  EXPECT_EQ(Site(0).traps(), 0u);
  EXPECT_EQ(Site(0).numbers.size(), 0u);
  EXPECT_EQ(Site(1).traps(), 1u);
  EXPECT_TRUE(absl::IsNotFound(core_->ResetCounters(0x9999)));
  ASSERT_TRUE(core_->ResetCounters(std::nullopt).ok());
  EXPECT_EQ(Site(1).traps(), 0u);
}

TEST_F(Core, AResetPutsAllBackAndKeepsTheCounts) {
  Link();
  ASSERT_TRUE(core_->RegisterDirectSites(0x2000, 0x10));
  core_->Reset();
  EXPECT_THAT(Bytes(), ElementsAre(0x0f, 0x01, 0xc1));
  EXPECT_EQ(Site().state, SiteState::kRetired);
  EXPECT_EQ(Site().reason, Reason::kReset);
  EXPECT_EQ(Site().fast_calls(), 16u);
  EXPECT_EQ(Interrupt(0x2000), HypercallOutcome::kNotOurs);
}

TEST_F(Core, SymbolsAreFilledInOnce) {
  Trap();
  int asked = 0;
  auto symbolizer = [&](uint64_t gva) {
    ++asked;
    return "at_" + std::to_string(gva);
  };
  core_->Symbolize(symbolizer, 1);
  core_->Symbolize(symbolizer, 2);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(Site().symbol, "at_" + std::to_string(kSite));
}

TEST_F(Core, ASymbolThatIsNotThereIsLookedUpAgainOnlyAmongOthers) {
  constexpr int kSites = 1000;
  for (uint64_t i = 0; i < kSites; ++i) Trap(0x10000 + 4 * i);
  int asked = 0;
  std::string answer;
  auto symbolizer = [&](uint64_t) {
    ++asked;
    return answer;
  };
  core_->Symbolize(symbolizer, 1);
  core_->Symbolize(symbolizer, 1);
  EXPECT_EQ(asked, kSites);
  Trap(0x20000);
  core_->Symbolize(symbolizer, 1);
  EXPECT_EQ(asked, kSites + 1) << "a site that is new";
  answer = "found";
  int exclusive = engine_.exclusive;
  core_->Symbolize(symbolizer, 2);
  EXPECT_EQ(asked, 2 * (kSites + 1));
  EXPECT_EQ(engine_.exclusive, exclusive + 1) << "vCPUs are held once for all";
  for (const auto& site : reader_->Sites()) EXPECT_EQ(site.symbol, "found");
}

TEST_F(Core, AFullLedgerServesAllTheSame) {
  for (uint64_t i = 0; i < kMaxSites; ++i) Trap(0x10000 + 4 * i);
  ASSERT_EQ(reader_->Sites().size(), kMaxSites);
  cpu_.gpr[x86::kRax] = 0;
  EXPECT_EQ(Trap(), HypercallOutcome::kServed);
  EXPECT_EQ(cpu_.gpr[x86::kRax], 42u);
  EXPECT_EQ(cpu_.rip, kSite + 3);
  EXPECT_EQ(reader_->Sites().size(), kMaxSites);
  EXPECT_THAT(Bytes(), ElementsAre(0x0f, 0x01, 0xc1));
  EXPECT_EQ(Trap(0x10000), HypercallOutcome::kServed) << "a known site goes on being counted";
}

}  // namespace
}  // namespace trapline::hypercall

// SPDX-License-Identifier: Apache-2.0
// Guests that attack what engine `direct` runs them on (guests/hostile.c). Whatever becomes of such
// a VM, it is over or can be stopped in bounded time, it says why, and a well-behaved VM in the
// same process notices nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/engine/direct/layout.h"
#include "core/engine/direct/probe.h"
#include "core/guest/abi.h"
#include "core/hypercall/stats_reader.h"
#include "tests/vm/hostile_guest.h"
#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class Hostile : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!engine::direct::ProbeHost().missing.empty()) GTEST_SKIP() << "no direct engine here";
    ASSERT_TRUE(witness_.made().ok()) << witness_.made();
    ASSERT_TRUE(witness_.vm().Start().ok());
    ASSERT_TRUE(witness_.AwaitOutput("hostile: behaves")) << witness_.output();
  }
  // The witness is served as ever.
  void TearDown() override {
    for (const std::string& path : files_) std::filesystem::remove(path);
    if (IsSkipped() || HasFatalFailure()) return;
    AwaitBeats(witness_);
    EXPECT_EQ(witness_.vm().state(), State::kRunning) << witness_.vm().state_reason();
  }

  static void Start(RunningVm& guest) {
    ASSERT_TRUE(guest.made().ok()) << guest.made();
    ASSERT_TRUE(guest.vm().Start().ok());
  }
  // To its end, or for a while: many a spoilt guest faults for ever, or resets itself. Then a stop
  // is to end it.
  static void Run(RunningVm& guest) {
    constexpr absl::Duration kWhile = absl::Milliseconds(300);
    Start(guest);
    if (guest.AwaitEnd(kWhile)) return;
    ASSERT_TRUE(guest.vm().Stop(StopMode::kForced, absl::ZeroDuration()).ok());
  }
  // Over, and it can be said why.
  static void ExpectReadableEnd(RunningVm& guest) {
    EXPECT_THAT(guest.vm().state(), AnyOf(State::kStopped, State::kFailed));
    EXPECT_THAT(guest.vm().state_reason(), Not(IsEmpty()));
    if (guest.vm().state() == State::kFailed) {
      EXPECT_THAT(guest.vm().failure_report(), HasSubstr("\nrip "));
    }
  }

  // Jumps to every 16th address of [from, to); a VM that dies of one goes on behind it.
  void Scan(uint64_t from, uint64_t to) {
    for (uint64_t at = from; at < to;) {
      RunningVm boot(HostileConfig(absl::StrCat("jumps from=", at, " to=", to)));
      Run(boot);
      ExpectReadableEnd(boot);
      if (absl::StrContains(boot.output(), "hostile: stood")) break;
      // A guest that has spoilt its own registers no longer knows where it is.
      uint64_t reached = WordAt(boot, kProgress);
      at = (reached >= at && reached < to ? reached : at) + 16;
    }
  }

  // With a stats file that can be read, which goes with the test.
  VmConfig Recorded(const std::string& attack) {
    VmConfig config = HostileConfig(attack);
    config.stats_path = StatsPath(attack);
    files_.push_back(config.stats_path);
    return config;
  }
  static std::string StatsPath(const std::string& attack) {
    return std::filesystem::temp_directory_path() /
           absl::StrCat("trapline-hostile-", attack, "-", getpid());
  }

  RunningVm witness_{HostileConfig("good")};
  std::vector<std::string> files_;
};

// ---- Jumps ----

TEST_F(Hostile, JumpsAllOverTheProgramsText) { Scan(TRAPLINE_PROGRAM, TRAPLINE_PROGRAM + 0x2000); }
TEST_F(Hostile, JumpsIntoTheProgramsData) {
  Scan(TRAPLINE_PROGRAM + 0x2000, TRAPLINE_PROGRAM + 0x3000);
}
TEST_F(Hostile, JumpsIntoControlPageAndRing) { Scan(TRAPLINE_CONTROL, TRAPLINE_CONTROL + 0x2000); }
TEST_F(Hostile, JumpsIntoStubs) { Scan(TRAPLINE_NEAR_STUBS, TRAPLINE_NEAR_STUBS + 0x800); }
TEST_F(Hostile, JumpsIntoSiteTableAndCounters) {
  Scan(TRAPLINE_SITE_TABLE, TRAPLINE_SITE_TABLE + 0x1000);
  Scan(TRAPLINE_COUNTERS, TRAPLINE_COUNTERS + 0x1000);
}
TEST_F(Hostile, JumpsIntoCallLogAndTraceRing) {
  Scan(TRAPLINE_CALL_LOG, TRAPLINE_CALL_LOG + 0x1000);
  Scan(TRAPLINE_TRACE_RING, TRAPLINE_TRACE_RING + 0x1000);
}

// ---- Whatever it does, it stands or fails alone ----

// An attack that must end in faults of the guest's own, all of them.
class Stopped : public Hostile, public ::testing::WithParamInterface<const char*> {};

TEST_P(Stopped, EachAttemptIsTheGuestsOwnFault) {
  RunningVm guest(HostileConfig(GetParam()));
  Start(guest);
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_EQ(guest.vm().state(), State::kStopped) << guest.vm().state_reason();
  EXPECT_EQ(guest.vm().exit_status(), -1) << guest.vm().state_reason();
  EXPECT_THAT(guest.output(), ContainsRegex("hostile: stood [1-9]"));
  EXPECT_THAT(guest.output(), Not(HasSubstr("NOT STOPPED")));
}
INSTANTIATE_TEST_SUITE_P(All, Stopped, ::testing::Values("syscalls", "own-syscalls", "steps"));

class Attack : public Hostile, public ::testing::WithParamInterface<const char*> {};

TEST_P(Attack, FailsAloneOrStands) {
  RunningVm guest(HostileConfig(GetParam()));
  Run(guest);
  ExpectReadableEnd(guest);
}
INSTANTIATE_TEST_SUITE_P(All, Attack,
                         ::testing::Values("frames", "forge", "forge seed=2", "ring", "counters",
                                           "ram", "overflow-low"));

class Scribbler : public Hostile, public ::testing::WithParamInterface<int> {};

TEST_P(Scribbler, FailsAloneOrStands) {
  RunningVm guest(HostileConfig(absl::StrCat("scribble seed=", GetParam())));
  Run(guest);
  ExpectReadableEnd(guest);
}
INSTANTIATE_TEST_SUITE_P(Seeds, Scribbler, ::testing::Range(1, 17));

// Who traces it reads nonsense, but in its bounds; and another VM's trace is true.
TEST_F(Hostile, ScribbledRecordsHarmNobody) {
  constexpr int kLooks = 200;
  constexpr size_t kBatch = 1000;
  RunningVm guest(Recorded("records")), other(Recorded("good"));
  for (RunningVm* vm : {&guest, &other}) {
    ASSERT_TRUE(vm->made().ok()) << vm->made();
    ASSERT_TRUE(vm->vm().hypercalls().SetTracing(true).ok());
  }
  auto reader = hypercall::StatsReader::Open(StatsPath("records"));
  auto truth = hypercall::StatsReader::Open(StatsPath("good"));
  ASSERT_TRUE(reader.ok() && truth.ok());
  auto cursor = (*reader)->End(), true_cursor = (*truth)->End();
  Start(guest);
  Start(other);
  uint64_t read = 0;
  for (int look = 0; look < kLooks; ++look) {
    auto events = (*reader)->ReadTrace(&cursor, kBatch);
    for (const hypercall::TraceEvent& event : events) {
      ASSERT_LT(event.site, hypercall::kMaxSites);
      ASSERT_LE(event.path, hypercall::Path::kLinked);
    }
    read += events.size();
    (*reader)->Dropped(cursor);
    EXPECT_LE((*reader)->OnRecord(kBatch).size(), kBatch);
    ASSERT_TRUE(guest.vm().hypercalls().SetTracing(look % 2 == 0).ok());
    AwaitBeats(guest);
  }
  EXPECT_GT(read, 0u);
  EXPECT_EQ(guest.vm().state(), State::kRunning) << guest.vm().state_reason();
  ASSERT_TRUE(guest.vm().Stop(StopMode::kForced, absl::ZeroDuration()).ok());
  AwaitBeats(other);
  ASSERT_TRUE(other.vm().Stop(StopMode::kForced, absl::ZeroDuration()).ok());
  uint64_t pings = 0;
  for (const hypercall::TraceEvent& event : (*truth)->ReadTrace(&true_cursor, kBatch)) {
    if (event.number != TRAPLINE_HC_PING) continue;
    EXPECT_EQ(event.result, event.args[0]);
    ++pings;
  }
  EXPECT_GT(pings, 0u);
}

TEST_F(Hostile, AnOverflowIntoReadOnlyMemoryIsADoubleFault) {
  RunningVm guest(HostileConfig("overflow-text"));
  Start(guest);
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_EQ(guest.vm().state(), State::kFailed);
  EXPECT_THAT(guest.vm().state_reason(),
              AllOf(StartsWith("double fault: page fault (vector 14"),
                    HasSubstr("is no memory that may be written"), HasSubstr(" at Overflow")));
}

TEST_F(Hostile, FaultsForEverAreStopped) {
  RunningVm guest(HostileConfig("faults"));
  ASSERT_TRUE(guest.vm().Start().ok());
  ASSERT_TRUE(guest.vm().Pause().ok());
  ASSERT_TRUE(guest.vm().Resume().ok());
  ASSERT_TRUE(guest.vm().Stop(StopMode::kForced, absl::ZeroDuration()).ok());
  EXPECT_EQ(guest.vm().state(), State::kStopped);
}

TEST_F(Hostile, CodeOf32BitsIsAFaultOnceItIsSeen) {
  RunningVm guest(HostileConfig("far-spin"));
  ASSERT_TRUE(guest.vm().Start().ok());
  while (guest.vm().state() == State::kRunning) {
    // What makes it look.
    if (!guest.vm().ReadRegisters(0).ok()) break;
  }
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_EQ(guest.vm().state(), State::kStopped) << guest.vm().state_reason();
  EXPECT_THAT(guest.output(), HasSubstr("hostile: stood 1\n"));
}

// Whichever attempt ends a VM, the next one begins with another seed. With
// TRAPLINE_RANDOM_CODE_ATTEMPTS set, that many.
TEST_F(Hostile, RandomCode) {
  const char* wanted = getenv("TRAPLINE_RANDOM_CODE_ATTEMPTS");
  uint64_t left = 20'000, boots = 0, made = 0;
  ASSERT_TRUE(!wanted || absl::SimpleAtoi(wanted, &left));
  std::map<std::string, int> ends;
  while (made < left) {
    RunningVm guest(HostileConfig(absl::StrCat("random seed=", ++boots, " count=", left - made)));
    Run(guest);
    ExpectReadableEnd(guest);
    made += WordAt(guest, kProgress) % left + 1;
    std::string reason = guest.vm().state_reason();
    ++ends[reason.substr(0, reason.find_first_of("(,:;"))];
  }
  std::cout << made << " attempts in " << boots << " boots\n";
  for (const auto& [reason, count] : ends) std::cout << count << " times: " << reason << "\n";
}

// ---- What ring 3 answers by itself (core/engine/direct/README.md lists it) ----

TEST_F(Hostile, SomeInstructionsDoNotTrap) {
  RunningVm guest(HostileConfig("untrapped"));
  Start(guest);
  ASSERT_TRUE(guest.AwaitEnd());
  // Those that are the same on every host.
  EXPECT_THAT(guest.output(),
              AllOf(HasSubstr("pushf-after-cli: 0x200\n"), HasSubstr("popf-of-if: 0x200\n"),
                    HasSubstr("cs: 0x33\n"), HasSubstr("ss: 0x2b\n")));
  for (const char* name :
       {"lar", "lsl", "verr", "verw", "rdtsc", "rdtscp", "xgetbv", "rdfsbase", "wrgsbase"})
    EXPECT_THAT(guest.output(), ContainsRegex(absl::StrCat("\n", name, ": 0x")));
  // And some that a kernel has and this guest has not.
  EXPECT_THAT(guest.output(), AllOf(HasSubstr("clac: vector 6\n"), HasSubstr("swapgs: vector 13")));
  RecordProperty("answers", guest.output());
}

// ---- Guests that do not listen ----

class Deaf : public Hostile, public ::testing::WithParamInterface<const char*> {};

TEST_P(Deaf, APauseFindsItOutAndTheVmFails) {
  RunningVm guest(HostileConfig(GetParam()));
  ASSERT_TRUE(guest.vm().Start().ok());
  AwaitBeats(guest);
  ASSERT_TRUE(guest.vm().Pause().ok());
  if (std::string(GetParam()) == "deaf-turning") {  // which hands over, whatever it means by it
    guest.vm().Stop(StopMode::kForced, absl::ZeroDuration()).IgnoreError();
    return;
  }
  ASSERT_TRUE(guest.AwaitEnd());
  EXPECT_EQ(guest.vm().state(), State::kFailed);
  EXPECT_THAT(
      guest.vm().state_reason(),
      StartsWith("the guest process did not hand over when it was asked to, and was killed; "
                 "last seen at "));
}
TEST_P(Deaf, AStopEndsIt) {
  RunningVm guest(HostileConfig(GetParam()));
  ASSERT_TRUE(guest.vm().Start().ok());
  AwaitBeats(guest);
  ASSERT_TRUE(guest.vm().Stop(StopMode::kForced, absl::ZeroDuration()).ok());
  EXPECT_NE(guest.vm().state(), State::kRunning);
}
INSTANTIATE_TEST_SUITE_P(All, Deaf,
                         ::testing::Values("deaf", "deaf-posting", "deaf-turning", "deaf-waking"));

// ---- Guests that only pretend to stand still ----

TEST_F(Hostile, APausedGuestStandsStillWhateverItPretends) {
  // Meanwhile the witness goes round so often, each time by a timer's tick: there is time to run.
  constexpr int kLooks = 20;
  RunningVm guest(HostileConfig("pretend"));
  ASSERT_TRUE(guest.vm().Start().ok());
  AwaitBeats(guest);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(guest.vm().Pause().ok());
    ASSERT_EQ(guest.vm().state(), State::kPaused) << guest.vm().state_reason();
    uint64_t beats = WordAt(guest, kBeats);
    for (int look = 0; look < kLooks; ++look) {
      AwaitBeats(witness_);
      ASSERT_EQ(WordAt(guest, kBeats), beats);
    }
    ASSERT_TRUE(guest.vm().Resume().ok());
    AwaitBeats(guest);
  }
  ASSERT_TRUE(guest.vm().Stop(StopMode::kForced, absl::ZeroDuration()).ok());
  uint64_t beats = WordAt(guest, kBeats);
  AwaitBeats(witness_);
  EXPECT_EQ(WordAt(guest, kBeats), beats);
}

}  // namespace
}  // namespace trapline::vm

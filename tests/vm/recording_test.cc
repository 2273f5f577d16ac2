// SPDX-License-Identifier: Apache-2.0
// Traced guests: what is shown of their calls and what is counted as dropped are all that they
// made.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/cycles.h"
#include "core/guest/abi.h"
#include "core/hypercall/stats_reader.h"
#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

using hypercall::TraceEvent;

constexpr uint32_t kVcpus = 2;

// A guest that makes calls (guests/calls.c) and a reader of its trace.
class Recording : public ::testing::TestWithParam<EngineKind> {
 protected:
  ~Recording() override { std::filesystem::remove(path_); }

  void Make(uint64_t calls, uint64_t every) {
    calls_ = calls;
    VmConfig config =
        GuestConfig("calls", absl::StrCat("calls=", calls, " every=", every), kVcpus, GetParam());
    config.stats_path = path_;
    guest_ = std::make_unique<RunningVm>(config);
    ASSERT_TRUE(guest_->made().ok()) << guest_->made();
    auto reader = hypercall::StatsReader::Open(path_);
    ASSERT_TRUE(reader.ok()) << reader.status();
    reader_ = *std::move(reader);
    cursor_ = reader_->End();
  }
  void Trace(bool on) { ASSERT_TRUE(guest_->vm().hypercalls().SetTracing(on).ok()); }
  void Start() { ASSERT_TRUE(guest_->vm().Start().ok()); }
  void AwaitEnd() {
    ASSERT_TRUE(guest_->AwaitEnd(absl::Minutes(2)));
    EXPECT_EQ(guest_->vm().state(), State::kStopped) << guest_->vm().state_reason();
    EXPECT_EQ(guest_->output(), "calls: done\n");
  }
  bool running() { return guest_->vm().state() == State::kRunning; }

  // What there is to be read: false if there was nothing.
  bool Read() {
    constexpr size_t kBatch = 1000;
    auto events = reader_->ReadTrace(&cursor_, kBatch);
    for (const TraceEvent& event : events) Check(event);
    shown_ += events.size();
    return !events.empty();
  }
  void ReadAll() {
    while (Read()) {
    }
  }
  void Check(const TraceEvent& event) {
    ASSERT_LT(event.vcpu, kVcpus);
    EXPECT_GT(event.cycles, 0u);
    EXPECT_EQ(event.cpl, 0);
    // It may be being rewritten, by a thread that does not get to the end of that at once.
    while (!reader_->Record(event.site).ok()) {
    }
    EXPECT_GE(event.time_ns, latest_[event.vcpu]);
    latest_[event.vcpu] = event.time_ns;
    if (event.number != TRAPLINE_HC_PING) return;
    uint64_t i = event.args[0];
    EXPECT_LT(i, calls_);
    EXPECT_THAT(event.args, ::testing::ElementsAre(i, event.vcpu, ~i, 7));
    EXPECT_EQ(event.result, i);
    EXPECT_GE(i, next_[event.vcpu]) << "each once, in order";
    next_[event.vcpu] = i + 1;
  }
  // Enough for some to be made while the other thread does this or that.
  static uint64_t Many() { return GetParam() == EngineKind::kDirect ? 3'000'000 : 200'000; }
  uint64_t all_calls() const { return kVcpus * calls_ + (kVcpus - 1) + 1; }

  const std::string path_ =
      std::filesystem::temp_directory_path() / ("trapline-recording-" + std::to_string(getpid()));
  uint64_t calls_ = 0, shown_ = 0;
  uint64_t next_[kVcpus] = {}, latest_[kVcpus] = {};
  std::unique_ptr<RunningVm> guest_;
  std::unique_ptr<hypercall::StatsReader> reader_;
  hypercall::StatsReader::Cursor cursor_;
};

TEST_P(Recording, OfAFewCallsEachIsShown) {
  Make(2000, 0);
  Trace(true);
  Start();
  AwaitEnd();
  ReadAll();
  EXPECT_EQ(shown_, all_calls());
  EXPECT_EQ(reader_->Dropped(cursor_), 0u);
}

// Nobody reads meanwhile, so that it does not matter how busy the machine is: what is asked is
// whether there was a record of each.
TEST_P(Recording, OfHalfAMillionCallsASecondOnEachVcpuNoneIsMissing) {
  constexpr uint64_t kASecond = 500'000, kFewestCycles = 4'000;
  Make(200'000, std::max(base::HostCyclesPerSecond() / kASecond, kFewestCycles));
  Trace(true);
  Start();
  AwaitEnd();
  EXPECT_EQ(reader_->Dropped(cursor_), 0u);
  ReadAll();
  EXPECT_EQ(shown_ + cursor_.overwritten, all_calls());
  EXPECT_EQ(shown_, kVcpus * uint64_t{hypercall::kTraceCapacity});
}

TEST_P(Recording, WhatIsNotShownIsDroppedHoweverOftenTracingBeginsAndEnds) {
  Make(Many(), 0);
  Start();
  for (bool on = true; running(); on = !on) {
    Trace(on);
    while (on && running() && !Read()) {
    }
  }
  AwaitEnd();
  ReadAll();
  EXPECT_GT(shown_, 0u);
  EXPECT_EQ(shown_ + reader_->Dropped(cursor_), all_calls());
}

TEST_P(Recording, AResetOfTheCountersChangesNothingAboutIt) {
  Make(Many(), 0);
  Trace(true);
  Start();
  while (running()) {
    ASSERT_TRUE(guest_->vm().hypercalls().ResetCounters(std::nullopt).ok());
    Read();
  }
  AwaitEnd();
  ReadAll();
  EXPECT_EQ(shown_ + reader_->Dropped(cursor_), all_calls());
}

TEST_P(Recording, TheLastCallsOfAGuestThatNobodyTracedAreOnRecord) {
  Make(100'000, 0);
  Start();
  AwaitEnd();
  ReadAll();
  EXPECT_EQ(shown_, 0u);
  auto events = reader_->OnRecord(hypercall::kRecentCapacity);
  ASSERT_FALSE(events.empty());
  for (const TraceEvent& event : events) {
    EXPECT_TRUE(reader_->Record(event.site).ok()) << event.site;
    EXPECT_GT(event.cycles, 0u);
    EXPECT_TRUE(event.number != TRAPLINE_HC_PING || event.result == event.args[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, Recording, ::testing::ValuesIn(TestedEngines()), EngineName);

}  // namespace
}  // namespace trapline::vm

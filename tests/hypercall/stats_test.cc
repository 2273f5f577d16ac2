// SPDX-License-Identifier: Apache-2.0
// The stats file between its writer and its reader, who believes nothing unchecked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/hypercall/stats_file.h"
#include "core/hypercall/stats_reader.h"

namespace trapline::hypercall {
namespace {

using ::testing::HasSubstr;

class Stats : public ::testing::Test {
 protected:
  static constexpr uint32_t kVcpus = 2;

  Stats() {
    path_ = std::filesystem::temp_directory_path() / ("trapline-stats-" + std::to_string(getpid()));
    auto file = StatsFile::Create(path_, kVcpus);
    EXPECT_TRUE(file.ok()) << file.status();
    file_ = *std::move(file);
  }
  ~Stats() override { std::filesystem::remove(path_); }

  std::unique_ptr<StatsReader> Reader() {
    auto reader = StatsReader::Open(path_);
    EXPECT_TRUE(reader.ok()) << reader.status();
    return *std::move(reader);
  }
  void AddSite(uint32_t index, uint64_t gpa) {
    SiteRecord& record = file_->site(index);
    record.state = static_cast<uint8_t>(SiteState::kPatched);
    record.gpa = gpa;
    std::strcpy(record.symbol, "somewhere+0x1");
    record.sequence = 2;
    file_->header().site_count = index + 1;
  }
  // Counts and records a call at the first site.
  void Trace(uint32_t vcpu, uint64_t number) {
    engine::BeginTraced(file_->log(vcpu));
    engine::Bump(file_->counters(vcpu, 0).calls[0][0]);
    engine::AppendRecord(file_->log(vcpu).traced, file_->ring(vcpu).records, NoteOf(number));
  }
  static engine::CallNote NoteOf(uint64_t number) {
    engine::CallNote note{};
    note.time = number * 1'000'000'000;
    note.number = number;
    return note;
  }
  std::string path_;
  std::unique_ptr<StatsFile> file_;
};

TEST_F(Stats, WhatIsWrittenIsRead) {
  AddSite(0, 0x1000);
  file_->counters(0, 0).calls[0][0] = 3;
  file_->counters(1, 0).calls[0][1] = 4;
  file_->counters(1, 0).calls[2][0] = 100;
  auto reader = Reader();
  EXPECT_EQ(reader->vcpus(), kVcpus);
  auto sites = reader->Sites();
  ASSERT_EQ(sites.size(), 1u);
  EXPECT_EQ(sites[0].gpa, 0x1000u);
  EXPECT_EQ(sites[0].symbol, "somewhere+0x1");
  EXPECT_EQ(sites[0].state, SiteState::kPatched);
  EXPECT_EQ(sites[0].traps(), 7u);
  EXPECT_EQ(sites[0].fast_calls(), 100u);
}

TEST_F(Stats, CyclesOfTheCallsThatWereNotTimedAreTakenFromThoseThatWere) {
  AddSite(0, 0x1000);
  SiteCounters& counters = file_->counters(0, 0);
  counters.calls[2][0] = 6400;
  counters.cycles[2] = 5000;
  counters.timed[2] = 100;
  EXPECT_EQ(Reader()->Sites()[0].cycles[2], 320'000u);
}

TEST_F(Stats, NumbersOfAllVcpusAreAddedUp) {
  AddSite(0, 0x1000);
  for (uint32_t vcpu = 0; vcpu < kVcpus; ++vcpu) {
    file_->counters(vcpu, 0).number[vcpu] = 10 + 1;
    file_->counters(vcpu, 0).calls[vcpu][vcpu] = 5;
  }
  auto numbers = Reader()->Sites()[0].numbers;
  ASSERT_EQ(numbers.size(), 1u);
  EXPECT_EQ(numbers[0].number, 10u);
  EXPECT_EQ(numbers[0].calls, 10u);
}

TEST_F(Stats, ASiteThatIsNotThereIsNotFound) {
  AddSite(0, 0x1000);
  EXPECT_TRUE(Reader()->Site(0).ok());
  EXPECT_TRUE(absl::IsNotFound(Reader()->Site(1).status()));
  EXPECT_TRUE(absl::IsNotFound(Reader()->Site(~0u).status()));
}

// ---- The trace ring ----

TEST_F(Stats, EveryRecordIsReadOnce) {
  auto reader = Reader();
  auto cursor = reader->End();
  for (uint64_t i = 0; i < 1000; ++i) Trace(i % kVcpus, i);
  size_t read = 0;
  while (true) {
    auto events = reader->ReadTrace(&cursor, 64);
    if (events.empty()) break;
    for (const TraceEvent& event : events) EXPECT_EQ(event.number % kVcpus, event.vcpu);
    read += events.size();
  }
  EXPECT_EQ(read, 1000u);
  EXPECT_EQ(reader->Dropped(cursor), 0u);
}

TEST_F(Stats, RecordsThatWereOverwrittenAreCounted) {
  auto reader = Reader();
  auto cursor = reader->End();
  for (uint64_t i = 0; i < kTraceCapacity + 10; ++i) Trace(0, i);
  auto events = reader->ReadTrace(&cursor, 2 * kTraceCapacity);
  EXPECT_EQ(reader->Dropped(cursor), 10u);
  ASSERT_EQ(events.size(), kTraceCapacity);
  EXPECT_EQ(events.front().number, 10u);
  EXPECT_EQ(events.back().number, kTraceCapacity + 9);
}

TEST_F(Stats, CallsThatWereNotRecordedAreDropped) {
  AddSite(0, 0x1000);
  file_->counters(1, 0).calls[2][3] = 5;
  auto reader = Reader();
  auto cursor = reader->End();
  file_->counters(1, 0).calls[2][3] = 12;
  Trace(1, 1);
  EXPECT_EQ(reader->Dropped(cursor), 7u) << "what is recorded can still be read";
  EXPECT_EQ(reader->ReadTrace(&cursor, 10).size(), 1u);
  EXPECT_EQ(reader->Dropped(cursor), 7u);
}

TEST_F(Stats, ACallThatIsBeingRecordedIsNotDropped) {
  AddSite(0, 0x1000);
  auto reader = Reader();
  auto cursor = reader->End();
  engine::BeginTraced(file_->log(0));
  EXPECT_EQ(reader->Dropped(cursor), 0u);
  engine::Bump(file_->counters(0, 0).calls[0][0]);
  EXPECT_EQ(reader->Dropped(cursor), 0u);
}

TEST_F(Stats, AResetOfCountersDropsNothing) {
  AddSite(0, 0x1000);
  file_->counters(0, 0).calls[1][0] = 100;
  auto reader = Reader();
  auto cursor = reader->End();
  file_->counters(0, 0).calls[1][0] = 3;
  file_->log(0).forgotten = 100;
  EXPECT_EQ(reader->Dropped(cursor), 3u);
}

TEST_F(Stats, TheNewestCallsOnRecordAreThoseOfBothRingsInOrder) {
  for (uint64_t time : {1, 4, 5}) Trace(0, time);
  for (uint64_t time : {2, 3, 6})
    engine::AppendRecord(file_->log(1).kept, file_->log(1).recent, NoteOf(time));
  auto numbers = [&](size_t limit) {
    std::vector<uint64_t> numbers;
    for (const TraceEvent& event : Reader()->OnRecord(limit)) numbers.push_back(event.number);
    return numbers;
  };
  EXPECT_THAT(numbers(100), ::testing::ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(numbers(2), ::testing::ElementsAre(5, 6));
}

TEST_F(Stats, OfTheSmallerRingTheNewestAreThere) {
  for (uint64_t i = 0; i < kRecentCapacity + 3; ++i)
    engine::AppendRecord(file_->log(0).kept, file_->log(0).recent, NoteOf(i));
  auto events = Reader()->OnRecord(1000);
  ASSERT_EQ(events.size(), kRecentCapacity);
  EXPECT_EQ(events.front().number, 3u);
}

TEST_F(Stats, ARecordThatIsBeingWrittenIsDroppedNotShown) {
  auto reader = Reader();
  auto cursor = reader->End();
  Trace(0, 1);
  Trace(0, 2);
  file_->ring(0).records[0].sequence = 0;
  auto events = reader->ReadTrace(&cursor, 10);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].number, 2u);
  EXPECT_EQ(reader->Dropped(cursor), 1u);
}

TEST_F(Stats, AWriterAndAReaderAtOnceLoseNothingUncounted) {
  constexpr uint64_t kCalls = 300'000;
  auto reader = Reader();
  auto cursor = reader->End();
  std::thread writer([&] {
    for (uint64_t i = 0; i < kCalls; ++i) Trace(0, i);
  });
  AddSite(0, 0x1000);
  uint64_t read = 0, next = 0;
  auto take = [&] {
    auto events = reader->ReadTrace(&cursor, 1000);
    for (const TraceEvent& event : events) {
      EXPECT_GE(event.number, next);
      next = event.number + 1;
    }
    read += events.size();
    return !events.empty();
  };
  while (read + reader->Dropped(cursor) < kCalls) take();
  writer.join();
  EXPECT_FALSE(take());
  EXPECT_EQ(read + reader->Dropped(cursor), kCalls);
}

// ---- Transitions ----

TEST_F(Stats, TransitionsThatMadeRoomAreCounted) {
  constexpr uint64_t kEver = kTransitionCapacity + 3;
  for (uint64_t i = 0; i < kEver; ++i) {
    auto place = static_cast<uint32_t>(i % kTransitionCapacity);
    ASSERT_TRUE(file_->ReserveTransition(place).ok());
    file_->transition(place).site = static_cast<uint32_t>(i);
    file_->transition(place).sequence = i + 1;
  }
  file_->header().transitions = kEver;
  auto reader = Reader();
  uint64_t lost = 0;
  auto first = reader->Transitions(0, 2, &lost);
  EXPECT_EQ(lost, 3u);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].sequence, 4u);
  EXPECT_EQ(first[1].site, 4u);
  EXPECT_EQ(reader->Transitions(kEver - 1, 10, &lost).size(), 1u);
  EXPECT_EQ(reader->Transitions(kEver, 10, &lost).size(), 0u);
}

TEST_F(Stats, SumsAreThoseOfTheSites) {
  AddSite(0, 0x1000);
  AddSite(1, 0x2000);
  file_->counters(0, 0).calls[0][0] = 1;
  file_->counters(1, 1).calls[2][7] = 6400;
  file_->counters(1, 1).timed[2] = 100;
  file_->counters(1, 1).cycles[2] = 5000;
  std::vector<SiteActivity> activity;
  SiteSums sums = Reader()->Survey(&activity);
  EXPECT_EQ(sums.sites, 2u);
  EXPECT_EQ(sums.by_state[static_cast<size_t>(SiteState::kPatched)], 2u);
  EXPECT_EQ(sums.calls, (std::array<uint64_t, kPathCount>{1, 0, 6400}));
  EXPECT_EQ(sums.cycles[2], 320'000u);
  EXPECT_THAT(activity, ::testing::ElementsAre(SiteActivity{2, 1}, SiteActivity{2, 6400}));
}

// ---- Damage ----

TEST_F(Stats, AMissingFileIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(StatsReader::Open(path_ + ".not").status()));
}

TEST_F(Stats, AHeaderThatDoesNotFitIsRefused) {
  struct Damage {
    const char* name;
    void (*apply)(StatsHeader&);
  };
  const Damage damages[] = {
      {"not one", [](StatsHeader& h) { h.magic ^= 1; }},
      {"version", [](StatsHeader& h) { ++h.version; }},
      {"vCPUs", [](StatsHeader& h) { h.vcpus = 0; }},
      {"vCPUs", [](StatsHeader& h) { h.vcpus = 0xffffffff; }},
      {"offsets", [](StatsHeader& h) { h.vcpus = 250; }},
      {"offsets", [](StatsHeader& h) { h.max_sites *= 2; }},
      {"offsets", [](StatsHeader& h) { h.transition_capacity = 0; }},
      {"offsets", [](StatsHeader& h) { h.sites_offset = ~uint64_t{0}; }},
      {"offsets", [](StatsHeader& h) { h.transitions_offset = 0; }},
      {"offsets", [](StatsHeader& h) { h.counters_offset -= 8; }},
      {"offsets", [](StatsHeader& h) { h.logs_offset += 4096; }},
      {"offsets", [](StatsHeader& h) { h.rings_offset += 4096; }},
  };
  StatsHeader& header = file_->header();
  alignas(StatsHeader) std::byte good[sizeof(StatsHeader)];
  std::memcpy(good, &header, sizeof good);
  for (const Damage& damage : damages) {
    damage.apply(header);
    auto status = StatsReader::Open(path_).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << damage.name << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(damage.name));
    std::memcpy(static_cast<void*>(&header), good, sizeof good);
  }
  EXPECT_TRUE(StatsReader::Open(path_).ok());
}

TEST_F(Stats, AFileOfAnyShorterLengthIsRefused) {
  auto size = std::filesystem::file_size(path_);
  file_.reset();
  for (uint64_t length : {size - 1, size / 2, uint64_t{4096}, uint64_t{50}, uint64_t{0}}) {
    std::filesystem::resize_file(path_, length);
    EXPECT_TRUE(absl::IsDataLoss(StatsReader::Open(path_).status())) << length;
  }
}

TEST(StatsFile, EverySiteHasItsPlaceBeforeItIsUsedAndFewMoreHave) {
  constexpr uint32_t kVcpus = 2;
  constexpr uint64_t kPerSite = sizeof(SiteRecord) + kVcpus * sizeof(SiteCounters);
  auto file = *StatsFile::Create("", kVcpus);
  auto allocated = [&] {
    struct stat now;
    EXPECT_EQ(fstat(file->fd(), &now), 0);
    return static_cast<uint64_t>(now.st_blocks) * 512;
  };
  for (uint64_t sites = 1; sites <= 2000; ++sites) {
    ASSERT_TRUE(file->ReserveSite(static_cast<uint32_t>(sites - 1)).ok());
    ASSERT_GE(allocated(), sites * kPerSite) << sites;
    // Twice as much, and pages at the ends of four parts.
    ASSERT_LE(allocated(), (2 * sites + 4) * kPerSite + 8 * 4096) << sites;
  }
  ASSERT_TRUE(file->ReserveSite(kMaxSites - 1).ok()) << "the last one";
}

TEST_F(Stats, AFileThatIsCutWhileItIsOpenReadsAsEmpty) {
  AddSite(0, 0x1000);
  Trace(0, 1);
  auto reader = Reader();
  ASSERT_EQ(reader->Sites().size(), 1u);
  auto cursor = reader->End();
  std::filesystem::resize_file(path_, 4096);
  EXPECT_EQ(reader->Sites().size(), 0u);
  std::filesystem::resize_file(path_, 0);
  EXPECT_EQ(reader->ReadTrace(&cursor, 10).size(), 0u);
  EXPECT_EQ(reader->Sites().size(), 0u);
}

TEST_F(Stats, NonsenseInRecordsStaysWithinItsBounds) {
  file_->header().site_count = ~0u;
  auto* records = reinterpret_cast<std::byte*>(&file_->site(0));
  std::memset(records, 0xfe, 10 * sizeof(SiteRecord));  // even sequences: as if they were whole
  std::memset(static_cast<void*>(&file_->counters(0, 0)), 0xff, 10 * sizeof(SiteCounters));
  auto reader = Reader();
  for (const SiteView& site : reader->Sites()) {
    EXPECT_LE(site.symbol.size(), kSymbolLength);
    EXPECT_LE(site.state, SiteState::kAmbiguous);
    EXPECT_LE(site.cpl, 3);
  }
  file_->log(0).traced = ~uint64_t{0};
  StatsReader::Cursor cursor{{5, 7, 9}};
  EXPECT_EQ(reader->ReadTrace(&cursor, 100'000).size(), 0u);
  EXPECT_EQ(cursor.overwritten, ~uint64_t{0} - 5);
  file_->header().transitions = ~uint64_t{0};
  file_->header().transition_room = ~0u;
  uint64_t lost = 0;
  EXPECT_EQ(reader->Transitions(0, 10, &lost).size(), 0u);
  EXPECT_EQ(lost, ~uint64_t{0} - kTransitionCapacity);
}

TEST_F(Stats, ARecordThatIsAlwaysBeingWrittenIsLeftOut) {
  AddSite(0, 0x1000);
  AddSite(1, 0x2000);
  file_->site(0).sequence = 3;
  auto sites = Reader()->Sites();
  ASSERT_EQ(sites.size(), 1u);
  EXPECT_EQ(sites[0].gpa, 0x2000u);
}

TEST_F(Stats, AFileThatCannotBeMadeSaysWhere) {
  auto status = StatsFile::Create("/nowhere/at/all", 1).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nowhere/at/all"));
}

}  // namespace
}  // namespace trapline::hypercall

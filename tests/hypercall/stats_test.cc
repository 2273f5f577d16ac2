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
  void Trace(uint32_t vcpu, uint64_t number) {
    TraceRing& ring = file_->ring(vcpu);
    uint64_t head = ring.head;
    TraceRecord& record = ring.records[head % kTraceCapacity];
    record.sequence = 0;
    std::atomic_thread_fence(std::memory_order_release);
    record.number = number;
    record.sequence = head + 1;
    ring.head = head + 1;
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
  counters.histogram[2][5] = 100;
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
  uint64_t dropped = 0;
  size_t read = 0;
  while (true) {
    auto events = reader->ReadTrace(&cursor, 64, &dropped);
    if (events.empty()) break;
    for (const TraceEvent& event : events) EXPECT_EQ(event.number % kVcpus, event.vcpu);
    read += events.size();
  }
  EXPECT_EQ(read, 1000u);
  EXPECT_EQ(dropped, 0u);
}

TEST_F(Stats, RecordsThatWereOverwrittenAreCounted) {
  auto reader = Reader();
  auto cursor = reader->End();
  for (uint64_t i = 0; i < kTraceCapacity + 10; ++i) Trace(0, i);
  uint64_t dropped = 0;
  auto events = reader->ReadTrace(&cursor, 2 * kTraceCapacity, &dropped);
  EXPECT_EQ(dropped, 10u);
  ASSERT_EQ(events.size(), kTraceCapacity);
  EXPECT_EQ(events.front().number, 10u);
  EXPECT_EQ(events.back().number, kTraceCapacity + 9);
}

TEST_F(Stats, CallsThatWereSkippedAreDropped) {
  file_->ring(1).skipped = 5;
  auto reader = Reader();
  auto cursor = reader->End();
  file_->ring(1).skipped = 12;
  Trace(1, 1);
  uint64_t dropped = 0;
  EXPECT_EQ(reader->ReadTrace(&cursor, 10, &dropped).size(), 1u);
  EXPECT_EQ(dropped, 7u);
  EXPECT_EQ(reader->ReadTrace(&cursor, 10, &dropped).size(), 0u);
  EXPECT_EQ(dropped, 7u);
}

TEST_F(Stats, ARecordThatIsBeingWrittenIsDroppedNotShown) {
  auto reader = Reader();
  auto cursor = reader->End();
  Trace(0, 1);
  Trace(0, 2);
  file_->ring(0).records[0].sequence = 0;
  uint64_t dropped = 0;
  auto events = reader->ReadTrace(&cursor, 10, &dropped);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].number, 2u);
  EXPECT_EQ(dropped, 1u);
}

TEST_F(Stats, AWriterAndAReaderAtOnceLoseNothingUncounted) {
  constexpr uint64_t kCalls = 300'000;
  auto reader = Reader();
  auto cursor = reader->End();
  std::thread writer([&] {
    for (uint64_t i = 0; i < kCalls; ++i) Trace(0, i);
  });
  uint64_t dropped = 0, read = 0, next = 0;
  auto take = [&] {
    auto events = reader->ReadTrace(&cursor, 1000, &dropped);
    for (const TraceEvent& event : events) {
      EXPECT_GE(event.number, next);
      next = event.number + 1;
    }
    read += events.size();
    return !events.empty();
  };
  while (read + dropped < kCalls) take();
  writer.join();
  EXPECT_FALSE(take());
  EXPECT_EQ(read + dropped, kCalls);
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
      {"offsets", [](StatsHeader& h) { h.trace_capacity = 0; }},
      {"offsets", [](StatsHeader& h) { h.sites_offset = ~uint64_t{0}; }},
      {"offsets", [](StatsHeader& h) { h.counters_offset -= 8; }},
      {"offsets", [](StatsHeader& h) { h.traces_offset += 4096; }},
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
  uint64_t dropped = 0;
  EXPECT_EQ(reader->ReadTrace(&cursor, 10, &dropped).size(), 0u);
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
  file_->ring(0).head = ~uint64_t{0};
  StatsReader::Cursor cursor{{5, 7, 9}, {}};
  uint64_t dropped = 0;
  EXPECT_EQ(reader->ReadTrace(&cursor, 100'000, &dropped).size(), 0u);
  EXPECT_EQ(dropped, ~uint64_t{0} - 5);
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

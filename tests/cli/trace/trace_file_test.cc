// SPDX-License-Identifier: Apache-2.0
// A trace's way into a file and back, with the file cut short, damaged, or on a full disk.
#include "cli/trace/trace_file.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "cli/trace/trace_feed.h"
#include "cli/trace/trace_recording.h"
#include "gmock/gmock.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "gtest/gtest.h"
#include "tests/cli/trace/packed.h"

namespace trapline::cli {
namespace {

using ::testing::HasSubstr;

// Counts calls.
class CountingSink : public TraceSink {
 public:
  void Take(const TraceStep& step, const TracedSites&, std::string& out) override {
    calls += step.calls.size();
    absl::StrAppend(&out, "step\n");
  }
  void End(std::string& out) override { absl::StrAppend(&out, "end\n"); }
  size_t calls = 0;
};

class TraceFile : public ::testing::Test {
 protected:
  TraceFile() : path_(absl::StrCat(::testing::TempDir(), "trace-file-", getpid())) {}
  ~TraceFile() override { std::filesystem::remove(path_); }

  std::unique_ptr<TraceFileWriter> Create() {
    v1::TraceFileEntry::Header header;
    header.set_vm("vms/debian");
    header.set_cycles_per_second(2'000'000'000);
    auto writer = TraceFileWriter::Create(path_, header);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return *std::move(writer);
  }
  // Three entries of two calls.
  void Write() {
    auto writer = Create();
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(writer->Append(Response({SendIpi(), SendIpi()})).ok());
      ends_.push_back(writer->bytes());
    }
    ASSERT_TRUE(writer->Close().ok());
  }
  std::string Bytes() {
    std::stringstream bytes;
    bytes << std::ifstream(path_, std::ios::binary).rdbuf();
    return bytes.str();
  }
  void Replace(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }
  // What reading all of it says; what was read is in calls_ and text_.
  absl::Status Read() {
    auto reader = TraceFileReader::Open(path_);
    if (!reader.ok()) return reader.status();
    const auto header = (*reader)->ReadHeader();
    if (!header.ok()) return header.status();
    CountingSink sink;
    TraceFeed feed({}, sink);
    text_.clear();
    const absl::Status status = FeedFile(**reader, feed, sink, [this](absl::string_view text) {
      absl::StrAppend(&text_, text);
      return absl::OkStatus();
    });
    calls_ = sink.calls;
    return status;
  }

  const std::string path_;
  std::vector<uint64_t> ends_;
  size_t calls_ = 0;
  std::string text_;
};

TEST_F(TraceFile, GivesBackWhatWasWritten) {
  Write();
  auto reader = TraceFileReader::Open(path_);
  ASSERT_TRUE(reader.ok());
  const auto header = (*reader)->ReadHeader();
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->vm(), "vms/debian");
  EXPECT_EQ(header->cycles_per_second(), 2'000'000'000u);
  const auto response = (*reader)->Next();
  ASSERT_TRUE(response.ok() && *response != nullptr);
  EXPECT_EQ((*response)->SerializeAsString(), Response({SendIpi(), SendIpi()}).SerializeAsString());
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(calls_, 6u);
  EXPECT_EQ(text_, "step\nstep\nstep\nend\n");
}

TEST_F(TraceFile, CutAnywhereShowsWhatIsWholeAndSaysWhereItEnds) {
  Write();
  const std::string whole = Bytes();
  ASSERT_EQ(whole.size(), ends_.back());
  for (size_t size = ends_[0]; size < whole.size(); ++size) {
    Replace(whole.substr(0, size));
    const absl::Status status = Read();
    const size_t entries = size < ends_[1] ? 1 : 2;
    EXPECT_EQ(calls_, 2 * entries) << size;
    EXPECT_THAT(text_, ::testing::EndsWith("end\n")) << size;
    if (size == ends_[entries - 1]) {
      EXPECT_TRUE(status.ok()) << size << status;
    } else {
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << size;
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr(absl::StrCat("damaged at byte ", ends_[entries - 1], ":")));
    }
  }
}

TEST_F(TraceFile, DamagedSaysWhere) {
  Write();
  const std::string whole = Bytes();
  // An entry's length beyond any; its contents no message; contents that cannot be.
  std::string damaged = whole;
  damaged.replace(ends_[0], 4, "\xff\xff\xff\xff");
  Replace(damaged);
  EXPECT_THAT(std::string(Read().message()),
              HasSubstr(absl::StrCat("damaged at byte ", ends_[0], ": an entry claims")));
  damaged = whole;
  damaged[ends_[1] + 3] = '\xff';
  Replace(damaged);
  EXPECT_THAT(std::string(Read().message()),
              HasSubstr(absl::StrCat("damaged at byte ", ends_[1], ":")));
  EXPECT_EQ(calls_, 4u);
  TracedCall bad = SendIpi();
  bad.path = 0;
  v1::TraceFileEntry entry;
  *entry.mutable_response() = Response({bad});
  const std::string bytes = entry.SerializeAsString();
  ASSERT_GE(bytes.size(), 128u);
  const std::string length{static_cast<char>(bytes.size() | 0x80),
                           static_cast<char>(bytes.size() >> 7)};
  Replace(whole + length + bytes);
  EXPECT_THAT(std::string(Read().message()),
              HasSubstr(absl::StrCat("damaged at byte ", ends_[2], ": a call came in by path 0")));
  EXPECT_EQ(calls_, 6u);
}

TEST_F(TraceFile, OfAnotherKindIsRefused) {
  EXPECT_EQ(Read().code(), absl::StatusCode::kNotFound);
  for (const std::string& bytes : {std::string(),
                                   std::string("\x7f"
                                               "ELF and so on"),
                                   std::string(1000, '\0')}) {
    Replace(bytes);
    EXPECT_EQ(Read().code(), absl::StatusCode::kInvalidArgument) << bytes;
    EXPECT_THAT(std::string(Read().message()), HasSubstr("is no trace"));
  }
  v1::TraceFileEntry entry;
  entry.mutable_header()->set_magic("trapline trace");
  entry.mutable_header()->set_version(2);
  const std::string bytes = entry.SerializeAsString();
  Replace(static_cast<char>(bytes.size()) + bytes);
  EXPECT_THAT(std::string(Read().message()), HasSubstr("version 2"));
}

TEST_F(TraceFile, EndsWithAWholeEntryWhereTheDiskIsFull) {
  auto writer = Create();
  ASSERT_TRUE(writer->Append(Response({SendIpi()})).ok());
  const uint64_t whole = writer->bytes();
  // A limit on the file's size lets half an entry through, as a disk does that becomes full.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limit = before;
  limit.rlim_cur = whole + 50;
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status status = writer->Append(Response({SendIpi()}));
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  EXPECT_THAT(std::string(status.message()), HasSubstr("can be read"));
  EXPECT_EQ(std::filesystem::file_size(path_), whole);
  EXPECT_TRUE(Read().ok());
  EXPECT_EQ(calls_, 1u);
}

TEST_F(TraceFile, SaysWhyItCannotBeWritten) {
  EXPECT_THAT(std::string(TraceFileWriter::Create("/nonexistent/x", {}).status().message()),
              HasSubstr("/nonexistent/x"));
  EXPECT_THAT(std::string(TraceFileWriter::Create("/dev/full", {}).status().message()),
              HasSubstr("No space left"));
}

TEST_F(TraceFile, HoldsNoMoreThanWereAskedFor) {
  TraceRecording recording(Create(), 3, false);
  EXPECT_TRUE(*recording.Take(Response({SendIpi(), SendIpi()}, 1)));
  EXPECT_FALSE(*recording.Take(Response({SendIpi(), SendIpi()}, 7)));
  ASSERT_TRUE(recording.Close().ok());
  EXPECT_THAT(recording.Text(), HasSubstr("3 hypercalls"));
  EXPECT_THAT(recording.Text(), HasSubstr("7 dropped"));
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(calls_, 3u);
}

}  // namespace
}  // namespace trapline::cli

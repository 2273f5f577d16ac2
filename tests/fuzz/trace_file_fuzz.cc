// SPDX-License-Identifier: Apache-2.0
// Any bytes as a trace, from the file's entries to every kind of text.
#include <cstdlib>
#include <memory>

#include "cli/trace/call_json.h"
#include "cli/trace/call_text.h"
#include "cli/trace/trace_events.h"
#include "cli/trace/trace_feed.h"
#include "cli/trace/trace_file.h"
#include "cli/trace/trace_summary.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace {

using namespace trapline::cli;

void Expect(bool good) {
  if (!good) std::abort();
}

std::unique_ptr<TraceSink> SinkOf(uint8_t kind, const v1::TraceFileEntry::Header& header) {
  switch (kind % 5) {
    case 0:
      return std::make_unique<CallText>(TraceClock::kWall, true);
    case 1:
      return std::make_unique<CallJson>();
    case 2:
      return std::make_unique<TraceSummary>(TraceSummary::Look{.json = true});
    case 3:
      if (header.cycles_per_second() != 0) return std::make_unique<TraceEvents>(header);
      [[fallthrough]];
    default:
      return std::make_unique<TraceSummary>(TraceSummary::Look{});
  }
}

}  // namespace

// A byte: which text. The rest is the file, behind a header of ours where the byte's top bit is
// set, else hardly one would have entries.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string file(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] & 0x80) {
    v1::TraceFileEntry entry;
    entry.mutable_header()->set_magic("trapline trace");
    entry.mutable_header()->set_version(1);
    entry.mutable_header()->set_cycles_per_second(data[0] & 0x40 ? 1 : 2'500'000'000);
    const std::string bytes = entry.SerializeAsString();
    file = static_cast<char>(bytes.size()) + bytes + file;
  }
  // In small pieces, so that entries cross their bounds.
  TraceFileReader reader(std::make_unique<google::protobuf::io::ArrayInputStream>(
                             file.data(), static_cast<int>(file.size()), 16),
                         "input");
  const auto header = reader.ReadHeader();
  if (!header.ok()) {
    Expect(!header.status().message().empty());
    return 0;
  }
  const std::unique_ptr<TraceSink> sink = SinkOf(data[0], *header);
  v1::TraceFilter filter;
  filter.set_failed((data[0] & 0x20) != 0);
  TraceFeed feed({.filter = TraceFilter(filter, {})}, *sink);
  size_t written = 0;
  const absl::Status status = FeedFile(reader, feed, *sink, [&](absl::string_view text) {
    written += text.size();
    return absl::OkStatus();
  });
  Expect(status.ok() || status.code() == absl::StatusCode::kDataLoss);
  Expect(feed.shown() * 72 <= file.size());
  return 0;
}

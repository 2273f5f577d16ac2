// SPDX-License-Identifier: Apache-2.0
// From responses to a sink.
#include "cli/trace/trace_feed.h"

#include <algorithm>

namespace trapline::cli {
namespace {

constexpr size_t kPiece = 1 << 18;

// False at the end, or where there were enough.
absl::StatusOr<bool> FeedEntry(TraceFileReader& reader, TraceFeed& feed, std::string& text) {
  const absl::StatusOr<const v1::StreamHypercallsResponse*> response = reader.Next();
  if (!response.ok()) return response.status();
  if (*response == nullptr) return false;
  absl::StatusOr<bool> go_on = feed.Take(**response, text);
  if (!go_on.ok()) return reader.Damaged(go_on.status().message());
  return go_on;
}

}  // namespace

absl::StatusOr<bool> TraceFeed::Take(const v1::StreamHypercallsResponse& response,
                                     std::string& out) {
  absl::StatusOr<TraceStep> step = decoder_.Decode(response);
  if (!step.ok()) return step.status();
  if (choice_.filter || choice_.sample > 1) {
    chosen_.clear();
    for (const TracedCall& call : step->calls) {
      if (choice_.filter && !choice_.filter->Matches(call, decoder_.sites())) continue;
      if (matched_++ % choice_.sample == 0) chosen_.push_back(call);
    }
    step->calls = chosen_;
  }
  if (choice_.limit != 0) {
    step->calls = step->calls.first(
        std::min<uint64_t>(step->calls.size(), choice_.limit - std::min(shown_, choice_.limit)));
  }
  shown_ += step->calls.size();
  sink_.Take(*step, decoder_.sites(), out);
  return !Enough();
}

absl::Status FeedFile(TraceFileReader& reader, TraceFeed& feed, TraceSink& sink,
                      const std::function<absl::Status(absl::string_view)>& write) {
  std::string text;
  sink.Begin(text);
  absl::StatusOr<bool> go_on = true;
  while (go_on.ok() && *go_on) {
    go_on = FeedEntry(reader, feed, text);
    if (text.size() < kPiece) continue;
    if (absl::Status status = write(text); !status.ok()) return status;
    text.clear();
  }
  sink.End(text);
  if (absl::Status status = write(text); !status.ok()) return status;
  return go_on.status();
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// From responses to a sink: decoded, filtered, and no more than were asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/trace/trace_decoder.h"
#include "cli/trace/trace_file.h"
#include "cli/trace/trace_filter.h"
#include "cli/trace/trace_sink.h"

namespace trapline::cli {

class TraceFeed {
 public:
  struct Choice {
    std::optional<TraceFilter> filter = std::nullopt;  // none: every call
    uint32_t sample = 1;                               // one in so many of those that match
    uint64_t limit = 0;                                // 0: all
  };
  TraceFeed(Choice choice, TraceSink& sink) : choice_(std::move(choice)), sink_(sink) {}

  // Appends what the sink makes of it. False where there were enough. DATA_LOSS: what is wrong with
  // the response.
  absl::StatusOr<bool> Take(const v1::StreamHypercallsResponse& response, std::string& out);

  uint64_t shown() const { return shown_; }
  uint64_t dropped() const { return decoder_.dropped(); }

 private:
  bool Enough() const { return choice_.limit != 0 && shown_ >= choice_.limit; }

  Choice choice_;
  TraceSink& sink_;
  TraceDecoder decoder_;
  std::vector<TracedCall> chosen_;
  uint64_t matched_ = 0;
  uint64_t shown_ = 0;
};

// The rest of a file, through `feed`, from the sink's beginning to its end; `write` gets the text
// in large pieces. What stands before damage is shown, and only then the damage told.
absl::Status FeedFile(TraceFileReader& reader, TraceFeed& feed, TraceSink& sink,
                      const std::function<absl::Status(absl::string_view)>& write);

}  // namespace trapline::cli

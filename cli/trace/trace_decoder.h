// SPDX-License-Identifier: Apache-2.0
// Turns packed responses into calls, and keeps what they refer to: sites, and when the guest was
// started. Nothing in a response is believed unchecked, since it may come from a file.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/trace/traced_call.h"
#include "trapline/v1/traces.pb.h"

namespace trapline::cli {

namespace v1 = ::trapline::v1;

// The sites that a trace has told of, by their index.
class TracedSites {
 public:
  // Only for the site of a call that TraceDecoder gave out.
  const TracedSite& at(uint32_t index) const { return sites_[index]; }
  bool Knows(uint32_t index) const { return index < sites_.size() && sites_[index].revision != 0; }
  size_t size() const { return sites_.size(); }

  absl::Status Set(const v1::TraceSite& site);

 private:
  std::vector<TracedSite> sites_;
  uint64_t revision_ = 0;
};

// What is derived from a site and kept, derived anew where the site has changed.
template <typename Value>
class PerSite {
 public:
  template <typename Derive>
  const Value& Get(const TracedSites& sites, uint32_t index, Derive derive) {
    if (index >= kept_.size()) kept_.resize(sites.size());
    Kept& kept = kept_[index];
    if (const TracedSite& site = sites.at(index); kept.revision != site.revision)
      kept = {site.revision, derive(site)};
    return kept.value;
  }

 private:
  struct Kept {
    uint64_t revision = 0;
    Value value{};
  };
  std::vector<Kept> kept_;
};

// What one response adds to a trace, in the order in which it is to be shown.
struct TraceStep {
  bool started_again = false;
  absl::Time start;      // guest time zero
  uint64_t dropped = 0;  // since the step before
  std::span<const TracedCall> calls;
};

// When a call was over.
absl::Time TimeOf(const TracedCall& call, const TraceStep& step);

class TraceDecoder {
 public:
  // The calls are valid until the next one. DATA_LOSS says what is wrong with the response.
  absl::StatusOr<TraceStep> Decode(const v1::StreamHypercallsResponse& response);

  const TracedSites& sites() const { return sites_; }
  uint64_t dropped() const { return dropped_; }

 private:
  absl::Status Start(const google::protobuf::Timestamp& time, TraceStep& step);
  absl::Status Unpack(absl::string_view packed);

  TracedSites sites_;
  absl::Time start_ = absl::UnixEpoch();
  bool started_ = false;
  uint64_t dropped_ = 0;
  std::vector<TracedCall> calls_;
};

}  // namespace trapline::cli

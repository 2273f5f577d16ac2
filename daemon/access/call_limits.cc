// SPDX-License-Identifier: Apache-2.0
// Counts of calls, by caller.
#include "daemon/access/call_limits.h"

#include "absl/strings/str_cat.h"
#include "daemon/common/errors.h"

namespace trapline::daemon {
namespace {

grpc::Status TooMany(const std::string& caller, CallLimits::Kind kind, uint32_t most) {
  const bool streams = kind == CallLimits::Kind::kStream;
  const std::string key = streams ? "max_streams_per_caller" : "max_calls_per_caller";
  return Error(
      grpc::RESOURCE_EXHAUSTED, streams ? "TOO_MANY_STREAMS" : "TOO_MANY_CALLS",
      absl::StrCat(caller, " has ", most, streams ? " streams and waits" : " calls",
                   " under way, as many as one caller may; end some, or have an administrator "
                   "raise [limits] ",
                   key),
      {{"caller", caller}, {"limit", absl::StrCat(most)}, {"configuration", "limits." + key}});
}

}  // namespace

CallLimits::CallLimits(const LimitsConfig& config)
    : most_{config.max_calls_per_caller, config.max_streams_per_caller} {}

grpc::Status CallLimits::Enter(const std::string& caller, Kind kind, Place* place) {
  const auto index = static_cast<size_t>(kind);
  absl::MutexLock lock(&mutex_);
  uint32_t& count = under_way_[caller][index];
  if (count == most_[index]) return TooMany(caller, kind, most_[index]);
  ++count;
  *place = Place(this, [caller, kind](CallLimits* limits) { limits->Leave(caller, kind); });
  return grpc::Status::OK;
}

void CallLimits::Leave(const std::string& caller, Kind kind) {
  absl::MutexLock lock(&mutex_);
  const auto known = under_way_.find(caller);
  --known->second[static_cast<size_t>(kind)];
  if (known->second == Counts{}) under_way_.erase(known);
}

}  // namespace trapline::daemon

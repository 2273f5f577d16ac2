// SPDX-License-Identifier: Apache-2.0
// Turns packed responses into calls.
#include "cli/trace/trace_decoder.h"

#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace trapline::cli {
namespace {

constexpr uint32_t kMaxSites = 1 << 18;           // more than a VM has
constexpr int64_t kMaxSeconds = 253'402'300'799;  // the end of year 9999, as Timestamp has it
constexpr int32_t kNanosecondsPerSecond = 1'000'000'000;

// "vms/debian/sites/0x1000" -> 0x1000.
bool ParseGpa(absl::string_view name, uint64_t& gpa) {
  const size_t slash = name.rfind('/');
  return slash != absl::string_view::npos && absl::SimpleHexAtoi(name.substr(slash + 1), &gpa);
}

}  // namespace

absl::Status TracedSites::Set(const v1::TraceSite& site) {
  if (site.index() >= kMaxSites)
    return absl::DataLossError(absl::StrCat("there is no site ", site.index()));
  TracedSite traced{
      .name = site.name(), .gva = site.gva(), .symbol = site.symbol(), .revision = ++revision_};
  if (!ParseGpa(site.name(), traced.gpa)) {
    return absl::DataLossError(absl::StrCat("site ", site.index(), " is called '", site.name(),
                                            "', not vms/VM/sites/GPA"));
  }
  if (site.index() >= sites_.size()) sites_.resize(site.index() + 1);
  sites_[site.index()] = std::move(traced);
  return absl::OkStatus();
}

absl::Time TimeOf(const TracedCall& call, const TraceStep& step) {
  // Apart, since a Duration is made of signed numbers.
  return step.start + absl::Seconds(call.guest_ns / kNanosecondsPerSecond) +
         absl::Nanoseconds(call.guest_ns % kNanosecondsPerSecond);
}

absl::StatusOr<TraceStep> TraceDecoder::Decode(const v1::StreamHypercallsResponse& response) {
  TraceStep step;
  if (response.has_start_time()) {
    if (absl::Status status = Start(response.start_time(), step); !status.ok()) return status;
  }
  for (const v1::TraceSite& site : response.sites()) {
    if (absl::Status status = sites_.Set(site); !status.ok()) return status;
  }
  if (response.dropped() < dropped_) {
    return absl::DataLossError(absl::StrCat("fewer calls were dropped than before, ",
                                            response.dropped(), " and not ", dropped_));
  }
  step.dropped = response.dropped() - std::exchange(dropped_, response.dropped());
  if (absl::Status status = Unpack(response.packed()); !status.ok()) return status;
  step.start = start_;
  step.calls = calls_;
  return step;
}

absl::Status TraceDecoder::Start(const google::protobuf::Timestamp& time, TraceStep& step) {
  if (time.seconds() < 0 || time.seconds() > kMaxSeconds || time.nanos() < 0 ||
      time.nanos() >= kNanosecondsPerSecond) {
    return absl::DataLossError(
        absl::StrCat("there is no such time as ", time.seconds(), " s and ", time.nanos(), " ns"));
  }
  // Guest time may go on from one start of the guest to the next, so that it is told tells.
  step.started_again = std::exchange(started_, true);
  start_ = absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
  return absl::OkStatus();
}

absl::Status TraceDecoder::Unpack(absl::string_view packed) {
  if (packed.size() % sizeof(TracedCall) != 0) {
    return absl::DataLossError(absl::StrCat("packed calls are ", sizeof(TracedCall),
                                            " bytes each, and these are ", packed.size()));
  }
  calls_.resize(packed.size() / sizeof(TracedCall));
  if (!calls_.empty()) std::memcpy(calls_.data(), packed.data(), packed.size());
  for (const TracedCall& call : calls_) {
    if (call.path < v1::TECHNIQUE_EMULATE || call.path > v1::TECHNIQUE_LINKED)
      return absl::DataLossError(absl::StrCat("a call came in by path ", int{call.path}));
    if (!sites_.Knows(call.site))
      return absl::DataLossError(absl::StrCat("a call is of site ", call.site, ", not told of"));
  }
  return absl::OkStatus();
}

}  // namespace trapline::cli

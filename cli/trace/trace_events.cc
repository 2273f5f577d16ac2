// SPDX-License-Identifier: Apache-2.0
// A trace as a document of the Trace Event Format.
// (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU)
#include "cli/trace/trace_events.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/trace/call_text.h"
#include "cli/trace/json_text.h"
#include "cli/units.h"
#include "core/guest/hypercalls.h"

namespace trapline::cli {
namespace {

constexpr int kProcess = 1;
constexpr int kFirstThread = 1;  // to Perfetto 0 is the idle thread
constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
// Beyond it a time is nonsense, and sums of two would overflow.
constexpr int64_t kFarthestNs = INT64_MAX / 4;

// "12.345": microseconds.
void AppendMicroseconds(int64_t ns, std::string& out) {
  absl::StrAppend(&out, ns / 1000, ".", absl::Dec(ns % 1000, absl::kZeroPad3));
}

std::string LastPart(absl::string_view name) {
  return std::string(name.substr(name.rfind('/') + 1));
}

void AppendMetadata(absl::string_view kind, int thread, absl::string_view name, std::string& out) {
  absl::StrAppend(&out, "{\"ph\":\"M\",\"pid\":", kProcess, ",\"tid\":", thread, ",\"name\":\"",
                  kind, "\",\"args\":{\"name\":", Quoted(name), "}}");
}

std::string SiteFields(const TracedSite& site) {
  return absl::StrCat("\"site\":\"", Hex(site.gpa), "\",\"symbol\":", Quoted(site.symbol));
}

}  // namespace

void TraceEvents::Begin(std::string& out) {
  absl::StrAppend(&out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
  AppendMetadata("process_name", kFirstThread, LastPart(header_.vm()), out);
}

void TraceEvents::Take(const TraceStep& step, const TracedSites& sites, std::string& out) {
  if (!started_) first_start_ = step.start;
  started_ = true;
  start_ns_ =
      std::clamp(absl::ToInt64Nanoseconds(step.start - first_start_), int64_t{0}, kFarthestNs);
  if (step.started_again) AppendMark("started again", std::max(start_ns_, newest_ns_), out);
  if (step.dropped != 0) {
    dropped_ += step.dropped;
    AppendMark(absl::StrCat(Grouped(step.dropped), " dropped"), newest_ns_, out);
  }
  for (const TracedCall& call : step.calls) AppendCall(call, sites, out);
}

void TraceEvents::End(std::string& out) {
  absl::StrAppend(&out, "\n],\"otherData\":{\"vm\":", Quoted(header_.vm()),
                  ",\"engine\":", Quoted(header_.engine()), ",\"dropped\":\"", dropped_,
                  "\",\"cycles_per_second\":\"", header_.cycles_per_second(), "\"");
  if (started_) {
    absl::StrAppend(
        &out, ",\"start_time\":",
        Quoted(absl::FormatTime(absl::RFC3339_full, first_start_, absl::UTCTimeZone())));
  }
  absl::StrAppend(&out, "}}\n");
}

void TraceEvents::AppendMark(const std::string& name, int64_t at_ns, std::string& out) {
  absl::StrAppend(&out, ",\n{\"ph\":\"i\",\"s\":\"p\",\"pid\":", kProcess,
                  ",\"tid\":", kFirstThread, ",\"name\":", Quoted(name), ",\"ts\":");
  AppendMicroseconds(at_ns, out);
  absl::StrAppend(&out, "}");
}

void TraceEvents::AppendThread(uint16_t vcpu, std::string& out) {
  absl::StrAppend(&out, ",\n");
  AppendMetadata("thread_name", kFirstThread + vcpu, absl::StrCat("vcpu ", vcpu), out);
}

// A call is told of when it is over.
void TraceEvents::AppendCall(const TracedCall& call, const TracedSites& sites, std::string& out) {
  const auto [busy_until, first] = busy_until_.try_emplace(call.vcpu, 0);
  if (first) AppendThread(call.vcpu, out);
  const auto length = static_cast<int64_t>(static_cast<unsigned __int128>(call.cycles) *
                                           kNanosecondsPerSecond / header_.cycles_per_second());
  const int64_t end =
      start_ns_ + static_cast<int64_t>(std::min<uint64_t>(call.guest_ns, kFarthestNs));
  const int64_t begin = std::clamp(end - length, std::min(busy_until->second, end), end);
  busy_until->second = end;
  newest_ns_ = std::max(newest_ns_, end);

  absl::StrAppend(&out, ",\n{\"ph\":\"X\",\"pid\":", kProcess,
                  ",\"tid\":", kFirstThread + call.vcpu, ",\"cat\":\"hypercall\",\"name\":\"",
                  guest::HypercallName(call.number), "\",\"ts\":");
  AppendMicroseconds(begin, out);
  absl::StrAppend(&out, ",\"dur\":");
  AppendMicroseconds(end - begin, out);
  AppendDetails(call, sites, out);
}

void TraceEvents::AppendDetails(const TracedCall& call, const TracedSites& sites,
                                std::string& out) {
  text_.clear();
  AppendArguments(call, text_);
  absl::StrAppend(&out, ",\"args\":{", sites_.Get(sites, call.site, SiteFields), ",\"path\":\"",
                  PathName(call.path), "\",\"cycles\":", call.cycles, ",\"arguments\":");
  AppendQuoted(text_, out);
  text_.clear();
  AppendResult(call, text_);
  absl::StrAppend(&out, ",\"result\":");
  AppendQuoted(text_, out);
  absl::StrAppend(&out, "}}");
}

}  // namespace trapline::cli

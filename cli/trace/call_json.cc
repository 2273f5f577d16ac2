// SPDX-License-Identifier: Apache-2.0
// A hypercall as one line of JSON.
#include "cli/trace/call_json.h"

#include "absl/strings/str_cat.h"
#include "cli/trace/json_text.h"
#include "core/guest/hypercalls.h"

namespace trapline::cli {
namespace {

constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;

// Protobuf's: none, or three, six or nine digits.
void AppendFraction(uint32_t ns, std::string& out) {
  if (ns == 0) return;
  if (ns % 1'000'000 == 0) {
    absl::StrAppend(&out, ".", absl::Dec(ns / 1'000'000, absl::kZeroPad3));
  } else if (ns % 1000 == 0) {
    absl::StrAppend(&out, ".", absl::Dec(ns / 1000, absl::kZeroPad6));
  } else {
    absl::StrAppend(&out, ".", absl::Dec(ns, absl::kZeroPad9));
  }
}

absl::string_view PathValue(uint8_t path) {
  switch (path) {
    case v1::TECHNIQUE_EMULATE:
      return "TECHNIQUE_EMULATE";
    case v1::TECHNIQUE_INTERRUPT:
      return "TECHNIQUE_INTERRUPT";
    default:
      return "TECHNIQUE_LINKED";
  }
}

std::string SiteFields(const TracedSite& site) {
  return absl::StrCat("\"site\":", Quoted(site.name), ",\"gva\":\"", site.gva,
                      "\",\"symbol\":", Quoted(site.symbol), ",");
}

}  // namespace

void CallJson::Take(const TraceStep& step, const TracedSites& sites, std::string& out) {
  if (step.started_again) {
    absl::StrAppend(&out, "{\"startedAgain\":");
    AppendTime(step.start, out);
    absl::StrAppend(&out, "}\n");
  }
  if (step.dropped != 0) absl::StrAppend(&out, "{\"dropped\":\"", step.dropped, "\"}\n");
  for (const TracedCall& call : step.calls) AppendCall(call, step, sites, out);
}

const std::string& CallJson::NumberFields(uint64_t number) {
  const bool named = guest::FindHypercall(number) != nullptr;
  std::string& fields = named ? numbers_[number] : unnamed_;
  if (!named || fields.empty()) {
    fields = absl::StrCat("\"number\":\"", number, "\",\"numberName\":\"",
                          guest::HypercallName(number), "\",");
  }
  return fields;
}

void CallJson::AppendCall(const TracedCall& call, const TraceStep& step, const TracedSites& sites,
                          std::string& out) {
  absl::StrAppend(&out, "{\"time\":");
  AppendTime(TimeOf(call, step), out);
  absl::StrAppend(&out, ",\"guestTime\":\"", call.guest_ns / kNanosecondsPerSecond);
  AppendFraction(static_cast<uint32_t>(call.guest_ns % kNanosecondsPerSecond), out);
  absl::StrAppend(&out, "s\",\"vcpu\":", call.vcpu, ",", sites_.Get(sites, call.site, SiteFields),
                  NumberFields(call.number), "\"arguments\":[");
  const unsigned count = guest::HypercallArguments(call.number);
  for (unsigned i = 0; i < count; ++i)
    absl::StrAppend(&out, i == 0 ? "\"" : ",\"", call.arguments[i], "\"");
  absl::StrAppend(&out, "],\"result\":\"", call.result, "\",\"path\":\"", PathValue(call.path));
  absl::StrAppend(&out, "\",\"cycles\":\"", call.cycles, "\",\"cpl\":", call.cpl, "}\n");
}

void CallJson::AppendTime(absl::Time time, std::string& out) {
  const absl::Time second = absl::FromUnixSeconds(absl::ToUnixSeconds(time));
  if (second != second_) {
    second_ = second;
    second_text_ = absl::FormatTime("%E4Y-%m-%dT%H:%M:%S", time, absl::UTCTimeZone());
  }
  absl::StrAppend(&out, "\"", second_text_);
  AppendFraction(static_cast<uint32_t>(absl::ToInt64Nanoseconds(time - second)), out);
  absl::StrAppend(&out, "Z\"");
}

}  // namespace trapline::cli

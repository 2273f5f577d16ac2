// SPDX-License-Identifier: Apache-2.0
// A hypercall as one line of JSON, the API's own TraceRecord.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "cli/trace/trace_sink.h"

namespace trapline::cli {

// What ToJson makes of the TraceRecord, with the times in front, at a small part of the cost. Where
// the guest was started again and where calls were dropped there are lines of their own:
// {"startedAgain":TIME} and {"dropped":"12"}.
class CallJson : public TraceSink {
 public:
  void Take(const TraceStep& step, const TracedSites& sites, std::string& out) override;

 private:
  void AppendCall(const TracedCall& call, const TraceStep& step, const TracedSites& sites,
                  std::string& out);
  void AppendTime(absl::Time time, std::string& out);
  const std::string& NumberFields(uint64_t number);

  PerSite<std::string> sites_;  // "site", "gva" and "symbol"
  // "number" and "numberName" of those met; only of calls that have a name.
  std::unordered_map<uint64_t, std::string> numbers_;
  std::string unnamed_;
  // The second formatted last, since it is mostly the same again.
  absl::Time second_ = absl::InfinitePast();
  std::string second_text_;
};

}  // namespace trapline::cli

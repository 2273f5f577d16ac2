// SPDX-License-Identifier: Apache-2.0
// A hypercall as one line, in strace's manner.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/trace/trace_sink.h"

namespace trapline::cli {

// What a line begins with.
enum class TraceClock {
  kGuest,  // seconds of guest time
  kWall,   // the time of day
  kNone,
};

// "12.345678 [vcpu 2] send_ipi(bitmap=0x6, min=1, icr=0xfd) = 2  <linked 61 cyc>
// kvm_send_ipi_mask+0x9c"; "--- started again ---" and "--- 12 dropped ---" where that happened.
class CallText : public TraceSink {
 public:
  CallText(TraceClock clock, bool colour) : clock_(clock), colour_(colour) {}
  void Take(const TraceStep& step, const TracedSites& sites, std::string& out) override;

 private:
  void AppendCall(const TracedCall& call, const TraceStep& step, const TracedSites& sites,
                  std::string& out);
  void AppendTime(const TracedCall& call, const TraceStep& step, std::string& out);

  const TraceClock clock_;
  const bool colour_;
  PerSite<std::string> places_;  // its symbol, or address
  // The second formatted last, since it is mostly the same again.
  int64_t second_ = -1;
  std::string second_text_;
};

// The same line of a record that came alone, with guest time and no newline.
std::string RecordText(const v1::TraceRecord& record);

// "send_ipi(bitmap=0x6, min=1, icr=0xfd) = 2", with no colour.
void AppendArguments(const TracedCall& call, std::string& out);
void AppendResult(const TracedCall& call, std::string& out);

// The number of a hypercall given as "send_ipi", "10" or "0xa". INVALID_ARGUMENT: the names there
// are.
absl::StatusOr<uint64_t> HypercallNumber(absl::string_view text);

// "trap", "interrupt" or "linked".
absl::string_view PathName(uint8_t path);

}  // namespace trapline::cli

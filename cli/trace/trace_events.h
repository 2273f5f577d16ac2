// SPDX-License-Identifier: Apache-2.0
// A trace as a document of the Trace Event Format, which Perfetto (ui.perfetto.dev) and Chrome's
// about:tracing show: the VM is a process, each vCPU a thread, each call a slice of its time.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>

#include "cli/trace/trace_sink.h"

namespace trapline::cli {

class TraceEvents : public TraceSink {
 public:
  // The header's cycles_per_second is not 0.
  explicit TraceEvents(v1::TraceFileEntry::Header header) : header_(std::move(header)) {}

  void Begin(std::string& out) override;
  void Take(const TraceStep& step, const TracedSites& sites, std::string& out) override;
  void End(std::string& out) override;

 private:
  void AppendMark(const std::string& name, int64_t at_ns, std::string& out);
  void AppendThread(uint16_t vcpu, std::string& out);
  void AppendCall(const TracedCall& call, const TracedSites& sites, std::string& out);
  void AppendDetails(const TracedCall& call, const TracedSites& sites, std::string& out);

  const v1::TraceFileEntry::Header header_;
  // Nanoseconds from the first start to the start that calls are now told from, and to the end of
  // the call that was last on each vCPU: slices of a thread must not overlap.
  bool started_ = false;
  absl::Time first_start_;
  int64_t start_ns_ = 0;
  std::unordered_map<uint16_t, int64_t> busy_until_;
  int64_t newest_ns_ = 0;
  uint64_t dropped_ = 0;
  std::string text_;  // of a call's arguments, and of its result
  PerSite<std::string> sites_;
};

}  // namespace trapline::cli

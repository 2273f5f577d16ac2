// SPDX-License-Identifier: Apache-2.0
// What becomes of a trace: lines, JSON, a summary. A sink makes text and writes nothing, so one
// write serves many calls.
#pragma once

#include <string>

#include "cli/trace/trace_decoder.h"

namespace trapline::cli {

class TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual void Begin(std::string&) {}
  virtual void Take(const TraceStep& step, const TracedSites& sites, std::string& out) = 0;
  virtual void End(std::string&) {}
};

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// The flags that `trapline trace` and its sub-commands have in common: which calls, and how they
// are shown.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/command.h"
#include "cli/trace/least_cycles.h"
#include "cli/trace/trace_sink.h"
#include "trapline/v1/traces.pb.h"

namespace trapline::cli {

struct TraceChoiceFlags {
  std::vector<uint32_t> vcpus;
  std::vector<std::string> numbers;
  std::vector<std::string> sites;
  std::vector<uint32_t> cpls;
  std::vector<std::string> paths;
  LeastCycles slower_than;
  bool failed = false;
  uint32_t sample = 1;
  uint64_t count = 0;
};
void AddTraceChoiceFlags(CLI::App& app, TraceChoiceFlags& flags);

// What they choose, the sites that are given as symbols apart.
struct TraceChoice {
  v1::TraceFilter filter;
  std::vector<std::string> symbols;
};
absl::StatusOr<TraceChoice> ChoiceOf(const TraceChoiceFlags& flags, uint64_t cycles_per_second);

struct TraceLookFlags {
  std::string time = "guest";
  bool summary = false;
  std::string sort = "cycles";
};
void AddTraceLookFlags(CLI::App& app, TraceLookFlags& flags);

std::unique_ptr<TraceSink> SinkFor(const TraceLookFlags& flags, const Output& out, uint32_t sample);

// The counts of a trace, said on standard error so that what is piped on is calls alone.
void SayCounts(uint64_t shown, uint64_t dropped);

}  // namespace trapline::cli

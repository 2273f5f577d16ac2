// SPDX-License-Identifier: Apache-2.0
// The part of a VM's report that a person reads first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "trapline/v1/host.pb.h"
#include "trapline/v1/sites.pb.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli {

// A part of the report, or why it is not in it.
struct ReportPart {
  std::string name;  // "sites.json"
  std::string what;  // "every site and its transitions"
  uint64_t bytes = 0;
  std::string missing;  // the reason; empty where it is there
};

struct ReportSummary {
  v1::Vm vm;
  v1::HostInfo host;  // empty where it was not to be had
  std::optional<v1::SiteTotals> totals;
  std::string client_version;  // of this program
  absl::Time time;
  std::vector<ReportPart> parts;
};

// What it is, how it ended, what is in the report, and what is not and why.
std::string ReportSummaryText(const ReportSummary& summary);

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// The tally as metrics.
#pragma once

#include <string>
#include <vector>

#include "daemon/metrics/call_tally.h"
#include "prometheus/metric_family.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::daemon {

// The label of those VMs that have no series of their own; no VM can be called that.
constexpr char kOtherVms[] = "_other";

std::vector<prometheus::MetricFamily> CallFamilies(const CallTally::Report& report);

// "soft"; "none" where it is not known.
std::string EngineLabel(v1::Engine engine);

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// The process_* metrics that Prometheus' own client libraries have, of this process.
#pragma once

#include <vector>

#include "prometheus/metric_family.h"

namespace trapline::daemon {

// Thread-safe.
std::vector<prometheus::MetricFamily> CollectProcessMetrics();

}  // namespace trapline::daemon

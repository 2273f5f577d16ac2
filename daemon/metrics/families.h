// SPDX-License-Identifier: Apache-2.0
// Metric families whose values are read at the moment when somebody asks.
#pragma once

#include <string>
#include <vector>

#include "prometheus/metric_family.h"

namespace trapline::daemon {

using MetricLabels = std::vector<prometheus::ClientMetric::Label>;

// Without values yet.
prometheus::MetricFamily CounterFamily(std::string name, std::string help);
prometheus::MetricFamily GaugeFamily(std::string name, std::string help);

void AddValue(prometheus::MetricFamily* family, MetricLabels labels, double value);

}  // namespace trapline::daemon

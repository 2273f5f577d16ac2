// SPDX-License-Identifier: Apache-2.0
// Which metrics a PromQL expression asks for.
#pragma once

#include <set>
#include <string>

namespace trapline::metrics_test {

std::set<std::string> MetricNames(const std::string& expression);

}  // namespace trapline::metrics_test

// SPDX-License-Identifier: Apache-2.0
// Two outcomes of one instance, and the difference in words.
#pragma once

#include <string>

#include "tests/differential/instance.h"

namespace trapline::differential {

// Empty if both are the same in all that is defined; else what differs, one line each.
std::string Difference(const Instance& instance, const Outcome& native, const Outcome& soft);

// The instruction's bytes, its text and what it starts from, for a person to try it alone.
std::string Describe(const Instance& instance);

}  // namespace trapline::differential

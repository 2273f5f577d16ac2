// SPDX-License-Identifier: Apache-2.0
// Things that a process does to itself for good, done in a child.
#pragma once

#include <functional>

namespace trapline::daemon {

// Runs the body in a child of one thread, which ends with its result: that, from 0 to 255, or minus
// the signal that killed it.
int InChild(const std::function<int()>& body);

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// Resource limits of the worker's own.
#pragma once

#include "daemon/vmm/confinement/measure.h"

namespace trapline::daemon {

// For this process and those that it makes. What is lower already stays as it is.
Measure LowerLimits();

}  // namespace trapline::daemon

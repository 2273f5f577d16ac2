// SPDX-License-Identifier: Apache-2.0
// Capabilities, and ways to come by new ones.
#pragma once

#include "daemon/vmm/confinement/measure.h"

namespace trapline::daemon {

// Gives up all capabilities of the calling thread, for good: no program that it executes gets any
// either. Called while there is one thread.
Measure GiveUpPrivileges();

}  // namespace trapline::daemon

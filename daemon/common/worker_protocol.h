// SPDX-License-Identifier: Apache-2.0
// Which builds of traplined and trapline-vmm understand each other (proto/trapline/worker/v1).
#pragma once

#include <cstdint>

namespace trapline::daemon {

// What this build's workers speak. Raised where an older daemon would misunderstand them.
constexpr uint32_t kWorkerProtocol = 1;
// The oldest that this build's daemon can control. Raised where it needs more of a worker.
constexpr uint32_t kOldestWorkerProtocol = 1;

}  // namespace trapline::daemon

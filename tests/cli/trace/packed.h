// SPDX-License-Identifier: Apache-2.0
// Packed responses for tests.
#pragma once

#include <string>
#include <vector>

#include "cli/trace/traced_call.h"
#include "trapline/v1/traces.pb.h"

namespace trapline::cli {

constexpr int64_t kStartSeconds = 1'700'000'000;

// A linked send_ipi of vCPU 2 at site 0 that answered 2, 1.5 s into the guest.
TracedCall SendIpi();

// What a trace begins with: the start, and site 0, kvm_send_ipi_mask+0x9c.
v1::StreamHypercallsResponse Response(const std::vector<TracedCall>& calls, uint64_t dropped = 0);
// The same of a guest that was started so many seconds later.
v1::StreamHypercallsResponse ResponseAfter(int64_t seconds, const std::vector<TracedCall>& calls);

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// A hypercall as one line, in strace's manner.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "trapline/v1/traces.pb.h"

namespace trapline::cli {

// "[vcpu 2] send_ipi(bitmap=0x6, bitmap_high=0x0, min=1, icr=0xfd) = 2 <linked 61 cyc>
// kvm_send_ipi_mask+0x9c"
std::string TraceLine(const v1::TraceRecord& record, bool with_time, bool colour);

// The number of a hypercall given as "send_ipi", "10" or "0xa". INVALID_ARGUMENT: the names there
// are.
absl::StatusOr<uint64_t> HypercallNumber(absl::string_view text);

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// The busiest sites as lines, for where there is no screen: a line a site, or a JSON document an
// update.
#pragma once

#include <cstddef>
#include <string>

#include "absl/time/time.h"
#include "cli/top/listing.h"
#include "cli/top/model.h"

namespace trapline::cli::top {

// "12:03:22  debian  0x1e3f0a7  kvm_send_ipi+0x9c  linked  calls/s 1.2M ..." for the first `rows`.
std::string LinesOf(const Model& model, Listing& listing, size_t rows, absl::Time now);

// {"time": ..., "vms": [...], "sites": [...]} on one line. Numbers of 64 bits are strings, as in
// the API's JSON; rates are numbers.
std::string JsonLineOf(const Model& model, Listing& listing, size_t rows, absl::Time now);

}  // namespace trapline::cli::top

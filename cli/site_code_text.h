// SPDX-License-Identifier: Apache-2.0
// The code around a site as people read it.
#pragma once

#include <string>

#include "trapline/v1/sites.pb.h"

namespace trapline::cli {

// What the guest wrote beside what stands there now, the site marked and with its bytes, and below
// it what a call from there passes. At most 120 columns.
std::string SiteCodeText(const v1::SiteCode& code, bool colour);

}  // namespace trapline::cli

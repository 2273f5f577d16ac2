// SPDX-License-Identifier: Apache-2.0
// The code around a site, as the guest wrote it beside as it is, and where a rewritten one leads.
#pragma once

#include <vector>

#include "cli/top/grid.h"
#include "cli/top/rate_history.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::cli::top {

std::vector<std::vector<Span>> CodeLines(const trapline::v1::SiteCode& code, int width,
                                         const Glyphs& glyphs);

}  // namespace trapline::cli::top

// SPDX-License-Identifier: Apache-2.0
// Sites as people read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/table.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::cli {

// "patched" in the colour of that state: the faster, the greener.
Cell SiteStateCell(v1::Site::State state);
inline Cell SiteStateCell(const v1::Site& site) { return SiteStateCell(site.state()); }

// One line a site.
std::string SiteTable(const std::vector<v1::Site>& sites, bool colour);

// Everything about one, with its histograms drawn.
std::string SiteDetails(const v1::Site& site, bool colour);

// Cycles of one call, over all the ways it came in by; none where there was no call.
std::optional<double> CyclesPerCall(const v1::Site& site);

// "trapping" in lower case; "" for UNSPECIFIED.
std::string SiteStateName(v1::Site::State state);

// What became of sites, one line a transition. `lost` older ones are told of in a line before them.
std::string TransitionTable(const std::vector<v1::SiteTransition>& transitions, uint64_t lost,
                            bool colour);

}  // namespace trapline::cli

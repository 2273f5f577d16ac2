// SPDX-License-Identifier: Apache-2.0
// Sites as people read them.
#pragma once

#include <string>
#include <vector>

#include "cli/table.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::cli {

// "patched" in the colour of that state: the faster, the greener.
Cell SiteStateCell(const v1::Site& site);

// One line a site.
std::string SiteTable(const std::vector<v1::Site>& sites, bool colour);

// Everything about one, with its histograms drawn.
std::string SiteDetails(const v1::Site& site, bool colour);

}  // namespace trapline::cli

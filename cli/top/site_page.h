// SPDX-License-Identifier: Apache-2.0
// One site's page, as lines to scroll through.
#pragma once

#include <cstddef>
#include <vector>

#include "cli/top/grid.h"
#include "cli/top/model.h"
#include "cli/top/rate_history.h"
#include "cli/top/site_detail.h"

namespace trapline::cli::top {

struct SitePage {
  std::vector<std::vector<Span>> lines;
  std::vector<size_t> sections;  // lines that are headings
};

// Record, paths as histograms side by side, code, transitions, calls. `width` in cells.
SitePage SitePageOf(const SiteDetail& detail, const Model& model, int width, const Glyphs& glyphs);

}  // namespace trapline::cli::top

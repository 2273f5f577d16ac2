// SPDX-License-Identifier: Apache-2.0
// What calls cost, by the way they came in: histograms side by side.
#pragma once

#include <vector>

#include "cli/top/grid.h"
#include "cli/top/rate_history.h"
#include "trapline/v1/sites.pb.h"

namespace trapline::cli::top {

// A line for each power of two of cycles that some way in has calls in, and for those between; a
// column for each way in that was used.
std::vector<std::vector<Span>> HistogramLines(const trapline::v1::Site& site, int width,
                                              const Glyphs& glyphs);

}  // namespace trapline::cli::top

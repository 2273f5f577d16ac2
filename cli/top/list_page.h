// SPDX-License-Identifier: Apache-2.0
// The list of sites: which columns there is room for, and its rows.
#pragma once

#include "absl/time/time.h"
#include "cli/top/grid.h"
#include "cli/top/listing.h"
#include "cli/top/model.h"
#include "cli/top/rate_history.h"
#include "cli/top/view.h"

namespace trapline::cli::top {

// Yellow, cyan, green: the dearer way in to the cheapest.
Style StyleOf(v1::Site::State state);

// Draws the heading at row `top` and the window below it, up to row `bottom`.
void DrawList(Grid& grid, int top, int bottom, const Model& model, const View& view,
              const Window& window, const Glyphs& glyphs, absl::Time now);

}  // namespace trapline::cli::top

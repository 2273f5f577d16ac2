// SPDX-License-Identifier: Apache-2.0
// The whole screen: header, the page that is open, status line, keys.
#pragma once

#include "absl/time/time.h"
#include "cli/top/grid.h"
#include "cli/top/model.h"
#include "cli/top/rate_history.h"
#include "cli/top/site_detail.h"
#include "cli/top/view.h"

namespace trapline::cli::top {

struct ScreenSize {
  int rows = 24;
  int columns = 80;
};

// What the view shows of the model, at that size. `detail` is read where a site is open. Scroll
// positions that lead beyond what there is are brought back.
Grid DrawFrame(const Model& model, View& view, const SiteDetail& detail, ScreenSize size,
               const Glyphs& glyphs, absl::Time now);

}  // namespace trapline::cli::top

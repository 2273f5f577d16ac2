// SPDX-License-Identifier: Apache-2.0
// The technique table as a picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "cli/bench_table.h"

namespace trapline::cli {

struct PlotCaption {
  std::string engine;     // "direct"
  std::string cpu_model;  // of the daemon's machine
};

// A standalone SVG document: a bar for each row, on a logarithmic scale of cycles, with the spread
// of its runs; lguest's of 2008 beside those that it had. Light or dark as the reader's screen is.
// What is in rows and caption may be anything.
std::string RenderTechniquePlot(const std::vector<TechniqueRow>& rows, const PlotCaption& caption);

}  // namespace trapline::cli

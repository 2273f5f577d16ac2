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

// The text as it stands in XML, between tags or in quotes; control characters become '?'.
std::string XmlText(absl::string_view text);

// Cycles to pixels: whole decades, the lowest of them below every bar, so that each has a length.
class LogScale {
 public:
  // least, most: of the figures, at least 1 each; from, to: where the axis begins and ends.
  LogScale(uint64_t least, uint64_t most, double from, double to);
  double At(double value) const;
  // 10^first .. 10^last are its ticks.
  int first() const { return first_; }
  int last() const { return last_; }

 private:
  double from_, to_;
  int first_, last_;
};

}  // namespace trapline::cli

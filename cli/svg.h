// SPDX-License-Identifier: Apache-2.0
// Parts of a picture: SVG, written by hand so that nothing else is needed to draw it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace trapline::cli {

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

// From zero to at least the largest figure, with at most six ticks at round numbers.
class LinearScale {
 public:
  LinearScale(double most, double from, double to);
  double At(double value) const { return from_ + (to_ - from_) * value / top_; }
  // 0, step, 2 * step .. top are its ticks.
  double step() const { return step_; }
  double top() const { return top_; }

 private:
  double from_, to_, step_, top_;
};

namespace svg {

struct Box {
  double x, y, width, height;
};
struct Point {
  double x, y;
};

// Each is one element on a line of its own. css is one of the document's classes; text may be
// anything.
std::string Text(double x, double y, absl::string_view css, absl::string_view anchor,
                 absl::string_view text);
std::string Line(double x1, double y1, double x2, double y2, absl::string_view css,
                 absl::string_view title = "");
std::string Rect(const Box& box, absl::string_view css, absl::string_view title = "");
std::string Polyline(const std::vector<Point>& points, absl::string_view css);

struct Frame {
  double width, height;
  std::string title;
  // Rules of the classes that are the picture's own, for either colour of the reader's screen.
  // Every document has "title", "name", "small" and "value" for text and "grid" for lines.
  absl::string_view light, dark;
};
// A standalone document.
std::string Document(const Frame& frame, absl::string_view body);

}  // namespace svg
}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// Parts of a picture.
#include "cli/svg.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/table.h"

namespace trapline::cli {
namespace {

constexpr absl::string_view kLight =
    ".paper { fill: #ffffff; } text { font: 13px system-ui, sans-serif; fill: #1f2328; }\n"
    ".title { font-size: 17px; font-weight: 600; } .small { font-size: 11.5px; fill: #59636e; }\n"
    ".grid { stroke: #d8dee4; }\n";
constexpr absl::string_view kDark =
    ".paper { fill: #0d1117; } text { fill: #e6edf3; } .small { fill: #9198a1; }\n"
    ".grid { stroke: #2a313c; }\n";

std::string TitleOf(absl::string_view title) {
  return title.empty() ? "" : absl::StrCat("<title>", XmlText(title), "</title>");
}

}  // namespace

std::string XmlText(absl::string_view text) {
  return absl::StrReplaceAll(
      Printable(text),
      {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&apos;"}});
}

LogScale::LogScale(uint64_t least, uint64_t most, double from, double to) : from_(from), to_(to) {
  const double low = std::log10(static_cast<double>(std::max<uint64_t>(least, 1)));
  const double high = std::log10(static_cast<double>(std::max<uint64_t>(most, 1)));
  first_ = std::max(0, static_cast<int>(std::ceil(low)) - 1);
  last_ = std::max(first_ + 1, static_cast<int>(std::ceil(high)));
}

double LogScale::At(double value) const {
  const double decades = std::log10(std::max(value, 1.0)) - first_;
  return from_ + (to_ - from_) * std::max(0.0, decades) / (last_ - first_);
}

LinearScale::LinearScale(double most, double from, double to) : from_(from), to_(to) {
  constexpr double kTicks = 5;
  const double wanted = std::max(most, 1.0) / kTicks;
  const double decade = std::pow(10, std::floor(std::log10(wanted)));
  step_ = 10 * decade;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * decade >= wanted) step_ = factor * decade;
  }
  top_ = step_ * std::ceil(std::max(most, 1.0) / step_);
}

namespace svg {

std::string Text(double x, double y, absl::string_view css, absl::string_view anchor,
                 absl::string_view text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">%s</text>\n",
                         x, y, css, anchor, XmlText(text));
}

std::string Line(double x1, double y1, double x2, double y2, absl::string_view css,
                 absl::string_view title) {
  return absl::StrFormat(
      "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\">%s</line>\n", x1, y1, x2,
      y2, css, TitleOf(title));
}

std::string Rect(const Box& box, absl::string_view css, absl::string_view title) {
  return absl::StrFormat(
      "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"%s\" rx=\"1.5\">%s"
      "</rect>\n",
      box.x, box.y, box.width, box.height, css, TitleOf(title));
}

std::string Polyline(const std::vector<Point>& points, absl::string_view css) {
  std::string places;
  for (const Point& point : points) absl::StrAppendFormat(&places, "%.1f,%.1f ", point.x, point.y);
  return absl::StrCat("<polyline points=\"", places, "\" class=\"", css, "\"/>\n");
}

std::string Document(const Frame& frame, absl::string_view body) {
  return absl::StrCat(
      absl::StrFormat("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                      "width=\"%.0f\" height=\"%.0f\" role=\"img\">\n",
                      frame.width, frame.height, frame.width, frame.height),
      TitleOf(frame.title), "\n<style>\n", kLight, frame.light,
      "\n@media (prefers-color-scheme: dark) {\n", kDark, frame.dark, "\n}\n</style>\n",
      "<rect width=\"100%\" height=\"100%\" class=\"paper\"/>\n", body, "</svg>\n");
}

}  // namespace svg
}  // namespace trapline::cli

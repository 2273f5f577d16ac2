// SPDX-License-Identifier: Apache-2.0
// What calls cost, by the way they came in: histograms side by side.
#include "cli/top/histogram_lines.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/names.h"
#include "cli/top/figures.h"

namespace trapline::cli::top {
namespace {

using PathStats = v1::Site::PathStats;

constexpr int kScaleWidth = 9;  // ">= 1.05M"
constexpr int kCountWidth = 7;
constexpr int kLeastBar = 4;
constexpr int kBuckets = 64;

uint64_t CallsIn(const PathStats& path, int bucket) {
  return bucket < path.histogram_size() ? path.histogram(bucket) : 0;
}

Style StyleOfPath(v1::Technique path) {
  switch (path) {
    case v1::TECHNIQUE_LINKED:
      return Style::kGood;
    case v1::TECHNIQUE_INTERRUPT:
      return Style::kFair;
    default:
      return Style::kDear;
  }
}

std::string Title(const PathStats& path) {
  const std::string name =
      path.path() == v1::TECHNIQUE_EMULATE ? "trap" : TechniqueName(path.path());
  return absl::StrCat(
      name, ", mean ",
      Scaled(static_cast<double>(path.cycles()) / static_cast<double>(path.calls())));
}

std::string Bar(uint64_t calls, uint64_t most, int width, const Glyphs& glyphs) {
  std::string bar;
  if (calls == 0) return bar;
  const double part = static_cast<double>(calls) / static_cast<double>(most);
  const int length = std::max(1, static_cast<int>(part * width));
  for (int i = 0; i < length; ++i) absl::StrAppend(&bar, glyphs.block());
  return bar;
}

// The text and spaces up to that width.
std::string Padded(std::string text, int width) {
  const int missing = std::max(0, width - CellsOf(text));
  return text.append(static_cast<size_t>(missing), ' ');
}

struct Used {
  std::vector<const PathStats*> paths;
  int first = kBuckets;
  int last = -1;
};

Used UsedOf(const v1::Site& site) {
  Used used;
  for (const PathStats& path : site.paths()) {
    if (path.calls() == 0) continue;
    used.paths.push_back(&path);
    for (int bucket = 0; bucket < kBuckets; ++bucket) {
      if (CallsIn(path, bucket) == 0) continue;
      used.first = std::min(used.first, bucket);
      used.last = std::max(used.last, bucket);
    }
  }
  return used;
}

}  // namespace

std::vector<std::vector<Span>> HistogramLines(const v1::Site& site, int width,
                                              const Glyphs& glyphs) {
  const Used used = UsedOf(site);
  if (used.paths.empty()) return {{{"none yet", Style::kDim}}};
  const int column = (width - kScaleWidth) / static_cast<int>(used.paths.size());
  const int bar = std::max(kLeastBar, column - kCountWidth - 2);
  std::vector<Span> heading = {{Padded("cycles", kScaleWidth), Style::kDim}};
  for (const PathStats* path : used.paths)
    heading.push_back({Padded(Title(*path), kCountWidth + 2 + bar), StyleOfPath(path->path())});
  std::vector<std::vector<Span>> lines = {std::move(heading)};
  for (int bucket = used.first; bucket <= used.last; ++bucket) {
    std::vector<Span> line = {
        {Padded(absl::StrCat(">= ", Scaled(static_cast<double>(uint64_t{1} << bucket))),
                kScaleWidth),
         Style::kDim}};
    for (const PathStats* path : used.paths) {
      const uint64_t calls = CallsIn(*path, bucket);
      const uint64_t most = *std::max_element(path->histogram().begin(), path->histogram().end());
      line.push_back({absl::StrFormat("%*s ", kCountWidth,
                                      calls == 0 ? "" : Scaled(static_cast<double>(calls)))});
      line.push_back({Padded(Bar(calls, most, bar, glyphs), bar + 1), StyleOfPath(path->path())});
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace trapline::cli::top

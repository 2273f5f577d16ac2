// SPDX-License-Identifier: Apache-2.0
// A screen as styled cells: what the renderer makes and the terminal paints.
//
// A cell holds a printable ASCII character or one of the few symbols that we draw with; whatever
// else is put there becomes '?'. So nothing that a guest chose, a symbol's name say, can reach the
// terminal as anything but text of its own width.
#pragma once

#include <climits>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace trapline::cli::top {

enum class Style {
  kPlain,
  kDim,
  kBold,
  kHeading,   // reversed
  kSelected,  // reversed, and more so
  kGood,
  kFair,
  kDear,
  kBad,
};

struct GridCell {
  char32_t symbol = U' ';
  Style style = Style::kPlain;
};

// A piece of a line.
struct Span {
  std::string text;
  Style style = Style::kPlain;
};

class Grid {
 public:
  static constexpr int kMaxSide = 2000;

  // Sides outside 0 to kMaxSide are brought into it.
  Grid(int rows, int columns);

  int rows() const { return rows_; }
  int columns() const { return columns_; }
  const GridCell& at(int row, int column) const { return cells_[row * columns_ + column]; }

  // Writes UTF-8 text, cut to `width` cells (its last one '~' then) and to the grid. Returns the
  // column behind it.
  int Put(int row, int column, absl::string_view text, Style style = Style::kPlain,
          int width = INT_MAX);
  // The same, ending where a field of `width` ends.
  void PutRight(int row, int column, absl::string_view text, Style style, int width);
  int Put(int row, int column, const std::vector<Span>& spans);
  // Gives a whole row that style, whatever is in it.
  void StyleRow(int row, Style style);

  // The rows as lines of UTF-8, trailing spaces cut.
  std::string Text() const;

 private:
  const int rows_;
  const int columns_;
  std::vector<GridCell> cells_;
};

// Cells that this text takes.
int CellsOf(absl::string_view text);

}  // namespace trapline::cli::top

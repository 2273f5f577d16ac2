// SPDX-License-Identifier: Apache-2.0
// A screen as styled cells.
#include "cli/top/grid.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace trapline::cli::top {
namespace {

constexpr char32_t kRightArrow = U'→';
constexpr char32_t kFirstBlock = U'▁';
constexpr char32_t kFullBlock = U'█';
constexpr char32_t kHorizontal = U'─';
constexpr char32_t kVertical = U'│';

bool IsOurs(char32_t symbol) {
  return symbol == kRightArrow || symbol == kHorizontal || symbol == kVertical ||
         (symbol >= kFirstBlock && symbol <= kFullBlock);
}

// Takes one character off the text. Three bytes are the longest that any symbol of ours has.
char32_t NextSymbol(absl::string_view& text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  char32_t symbol = U'?';
  size_t length = 1;
  if (first < 0x80) {
    symbol = first >= 0x20 && first != 0x7f ? first : U'?';
  } else {
    while (length < text.size() && (byte(length) & 0xc0) == 0x80 && length < 4) ++length;
    const bool three = (first & 0xf0) == 0xe0 && length == 3;
    const char32_t decoded =
        three ? (first & 0x0fu) << 12 | (byte(1) & 0x3fu) << 6 | (byte(2) & 0x3fu) : 0;
    if (IsOurs(decoded)) symbol = decoded;
  }
  text.remove_prefix(length);
  return symbol;
}

void AppendUtf8(char32_t symbol, std::string& out) {
  if (symbol < 0x80) {
    out.push_back(static_cast<char>(symbol));
    return;
  }
  out.push_back(static_cast<char>(0xe0 | symbol >> 12));
  out.push_back(static_cast<char>(0x80 | (symbol >> 6 & 0x3f)));
  out.push_back(static_cast<char>(0x80 | (symbol & 0x3f)));
}

}  // namespace

Grid::Grid(int rows, int columns)
    : rows_(std::clamp(rows, 0, kMaxSide)),
      columns_(std::clamp(columns, 0, kMaxSide)),
      cells_(static_cast<size_t>(rows_) * columns_) {}

int Grid::Put(int row, int column, absl::string_view text, Style style, int width) {
  if (row < 0 || row >= rows_ || column < 0) return column;
  const int end = width >= columns_ - column ? columns_ : column + std::max(0, width);
  for (; !text.empty() && column < end; ++column) {
    GridCell& cell = cells_[row * columns_ + column];
    cell = {NextSymbol(text), style};
    if (column == end - 1 && !text.empty()) cell.symbol = U'~';
  }
  return column;
}

void Grid::PutRight(int row, int column, absl::string_view text, Style style, int width) {
  Put(row, column + std::max(0, width - CellsOf(text)), text, style,
      std::min(width, CellsOf(text)));
}

int Grid::Put(int row, int column, const std::vector<Span>& spans) {
  for (const Span& span : spans) column = Put(row, column, span.text, span.style);
  return column;
}

void Grid::StyleRow(int row, Style style) {
  if (row < 0 || row >= rows_) return;
  for (int column = 0; column < columns_; ++column) cells_[row * columns_ + column].style = style;
}

std::string Grid::Text() const {
  std::string out;
  for (int row = 0; row < rows_; ++row) {
    std::string line;
    for (int column = 0; column < columns_; ++column) AppendUtf8(at(row, column).symbol, line);
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&out, line, "\n");
  }
  return out;
}

int CellsOf(absl::string_view text) {
  int cells = 0;
  while (!text.empty()) {
    (void)NextSymbol(text);
    ++cells;
  }
  return cells;
}

}  // namespace trapline::cli::top

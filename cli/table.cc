// SPDX-License-Identifier: Apache-2.0
// Columns for people: as wide as their contents, numbers to the right, colour where it helps.
#include "cli/table.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace trapline::cli {
namespace {

constexpr size_t kGap = 2;

// Columns on the screen: UTF-8 continuation bytes take none.
size_t Width(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

}  // namespace

std::string Printable(absl::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  return out;
}

void Table::Add(std::vector<Cell> row) {
  for (Cell& cell : row) cell.text = Printable(cell.text);
  row.resize(columns_.size(), Cell(""));
  rows_.push_back(std::move(row));
}

std::string Table::Render(bool colour) const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(Width(column.title));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i].text));
  }
  std::string out;
  const auto line = [&](auto&& cell_at) {
    std::string text;
    for (size_t i = 0; i < columns_.size(); ++i) {
      const Cell cell = cell_at(i);
      const std::string padding(widths[i] - Width(cell.text), ' ');
      const std::string painted = Paint(cell.text, cell.colour, colour);
      if (i > 0) text.append(kGap, ' ');
      absl::StrAppend(&text, columns_[i].align == Align::kRight ? padding : "", painted,
                      columns_[i].align == Align::kRight ? "" : padding);
    }
    absl::StripTrailingAsciiWhitespace(&text);
    absl::StrAppend(&out, text, "\n");
  };
  line([&](size_t i) { return Cell(std::string(columns_[i].title), Colour::kBold); });
  for (const auto& row : rows_) line([&](size_t i) { return row[i]; });
  return out;
}

void Details::Add(absl::string_view name, Cell value) {
  value.text = Printable(value.text);
  lines_.emplace_back(name, std::move(value));
}

void Details::AddIfSet(absl::string_view name, absl::string_view value) {
  if (!value.empty()) Add(name, value);
}

std::string Details::Render(bool colour) const {
  size_t width = 0;
  for (const auto& [name, value] : lines_) width = std::max(width, name.size());
  std::string out;
  for (const auto& [name, value] : lines_) {
    absl::StrAppend(&out, Paint(absl::StrCat(name, ":"), Colour::kBold, colour),
                    std::string(width - name.size() + kGap, ' '),
                    Paint(value.text, value.colour, colour), "\n");
  }
  return out;
}

}  // namespace trapline::cli

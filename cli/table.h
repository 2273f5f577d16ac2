// SPDX-License-Identifier: Apache-2.0
// Columns for people: as wide as their contents, numbers to the right, colour where it helps.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "cli/terminal.h"

namespace trapline::cli {

struct Cell {
  std::string text;
  Colour colour = Colour::kPlain;

  Cell(absl::string_view text) : text(text) {}       // NOLINT: cells are written as text
  Cell(const char* text) : text(text) {}             // NOLINT
  Cell(std::string text) : text(std::move(text)) {}  // NOLINT
  Cell(std::string text, Colour colour) : text(std::move(text)), colour(colour) {}
};

enum class Align { kLeft, kRight };

class Table {
 public:
  struct Column {
    absl::string_view title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // One cell for each column; control characters in it are shown as '?', so a guest cannot write to
  // the terminal.
  void Add(std::vector<Cell> row);
  bool empty() const { return rows_.empty(); }

  // With a heading line; lines end in newlines, trailing spaces are cut.
  std::string Render(bool colour) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// "Name:  value" lines for one thing, aligned on the longest name.
class Details {
 public:
  void Add(absl::string_view name, Cell value);
  // Not added where the value is empty.
  void AddIfSet(absl::string_view name, absl::string_view value);
  std::string Render(bool colour) const;

 private:
  std::vector<std::pair<std::string, Cell>> lines_;
};

// The text with control characters (but not UTF-8) replaced by '?'.
std::string Printable(absl::string_view text);

}  // namespace trapline::cli

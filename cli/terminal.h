// SPDX-License-Identifier: Apache-2.0
// The terminal: colour, raw mode, and writing everything.
#pragma once

#include <termios.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace trapline::cli {

enum class Colour { kPlain, kGreen, kRed, kYellow, kCyan, kDim, kBold };

// Whether this descriptor shows colour: a terminal, NO_COLOR unset or empty, TERM not "dumb".
bool UsesColour(int fd);

// text in that colour, or as it is where `enabled` is false.
std::string Paint(absl::string_view text, Colour colour, bool enabled);

// What is appended to `out` while this lives is in that colour, where it is `enabled`.
class Painted {
 public:
  Painted(Colour colour, bool enabled, std::string& out);
  ~Painted();
  Painted(const Painted&) = delete;
  Painted& operator=(const Painted&) = delete;

 private:
  std::string* const out_;  // null: nothing to end
};

// Writes all of it, over partial writes and EINTR. Where the reader has gone (EPIPE), a status that
// IsReaderGone knows; other errors say that it was `where` that could not be written.
absl::Status WriteAll(int fd, absl::string_view bytes, absl::string_view where = "the output");

// A line of ours on standard error: "trapline: text".
void Say(absl::string_view text);

// Whether output failed because nobody reads it any more (`trapline trace debian | head`): no error
// to report.
bool IsReaderGone(const absl::Status& status);

// The terminal passes every key through for as long as this lives; put back as it was on
// destruction. Does nothing where the descriptor is no terminal.
class RawTerminal {
 public:
  explicit RawTerminal(int fd);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  const int fd_;
  bool changed_ = false;
  termios before_{};
};

}  // namespace trapline::cli

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

// Writes all of it, over partial writes and EINTR. Where the reader has gone (EPIPE), a status that
// IsReaderGone knows.
absl::Status WriteAll(int fd, absl::string_view bytes);

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

// SPDX-License-Identifier: Apache-2.0
// The terminal as a screen of cells, by ncurses. The only file that knows ncurses is the .cc.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "cli/top/frame.h"
#include "cli/top/grid.h"
#include "cli/top/rate_history.h"
#include "cli/top/view.h"

namespace trapline::cli::top {

// Takes the terminal for as long as it lives. One at a time, used by one thread.
class TerminalScreen {
 public:
  // Whether standard input and output are a terminal that can be drawn on.
  static bool Possible();

  // FAILED_PRECONDITION where the terminal's type is not known here.
  static absl::StatusOr<std::unique_ptr<TerminalScreen>> Open(bool colour);
  ~TerminalScreen();
  TerminalScreen(const TerminalScreen&) = delete;
  TerminalScreen& operator=(const TerminalScreen&) = delete;

  const Glyphs& glyphs() const { return glyphs_; }
  // As it is now. Asked of the terminal each time: SIGWINCH may go to any of our threads.
  ScreenSize Size();
  // Writes what differs from the last time.
  void Paint(const Grid& grid);
  // The next key that waits; kNone where there is none.
  KeyPress ReadKey();

 private:
  struct Curses;
  explicit TerminalScreen(std::unique_ptr<Curses> curses);

  std::unique_ptr<Curses> curses_;
  Glyphs glyphs_;
};

}  // namespace trapline::cli::top

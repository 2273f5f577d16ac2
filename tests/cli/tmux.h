// SPDX-License-Identifier: Apache-2.0
// A program on a terminal whose screen can be read: a tmux of the test's own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/cli/process.h"

namespace trapline::cli_test {

// A server with one session of one window; it and what runs in it end on destruction.
class Tmux {
 public:
  // Runs a line of shell on a terminal of that size, and leaves the screen as it is at its end.
  Tmux(int columns, int rows, const std::string& command, const Environment& environment);
  ~Tmux();
  Tmux(const Tmux&) = delete;
  Tmux& operator=(const Tmux&) = delete;

  // Keys as tmux names them: "q", "Down", "Enter", "C-c".
  void Press(const std::vector<std::string>& keys);
  void Resize(int columns, int rows);
  // The screen's lines.
  std::string Screen();
  // Looks at the screen until it holds the text (or no longer does); false when patience is over.
  bool Await(std::string_view text);
  bool AwaitGone(std::string_view text);
  // A tmux format of the pane: "#{alternate_on}".
  std::string Ask(const std::string& format);

 private:
  std::string Run(std::vector<std::string> arguments);
  template <typename Holds>
  bool AwaitScreen(Holds holds);

  std::string directory_;
};

}  // namespace trapline::cli_test

// SPDX-License-Identifier: Apache-2.0
// A program on a terminal whose screen can be read: a tmux of the test's own.
#include "tests/cli/tmux.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "absl/strings/str_cat.h"

namespace trapline::cli_test {

Tmux::Tmux(int columns, int rows, const std::string& command, const Environment& environment) {
  std::string pattern = (std::filesystem::temp_directory_path() / "trapline-tmux-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
  directory_ = pattern;
  std::vector<std::string> arguments = {
      "-f", "/dev/null",           "new-session", "-d",
      "-x", absl::StrCat(columns), "-y",          absl::StrCat(rows)};
  for (const auto& [name, value] : environment) {
    arguments.emplace_back("-e");
    arguments.push_back(absl::StrCat(name, "=", value));
  }
  // The session stays, so that the screen can still be read.
  arguments.push_back(absl::StrCat(command, "; exec cat"));
  Run(std::move(arguments));
}

Tmux::~Tmux() {
  Run({"kill-server"});
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string Tmux::Run(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {TMUX_BINARY, "-u", "-S", directory_ + "/socket"});
  Process process(std::move(arguments), {{"TMUX", ""}, {"LC_ALL", "C.UTF-8"}});
  process.CloseStdin();
  process.Wait();
  return process.out();
}

void Tmux::Press(const std::vector<std::string>& keys) {
  std::vector<std::string> arguments = {"send-keys"};
  arguments.insert(arguments.end(), keys.begin(), keys.end());
  Run(std::move(arguments));
}

void Tmux::Resize(int columns, int rows) {
  Run({"resize-window", "-x", absl::StrCat(columns), "-y", absl::StrCat(rows)});
}

std::string Tmux::Screen() { return Run({"capture-pane", "-p"}); }

template <typename Holds>
bool Tmux::AwaitScreen(Holds holds) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!holds(Screen())) {
    if (std::chrono::steady_clock::now() > deadline) return false;
  }
  return true;
}

bool Tmux::Await(std::string_view text) {
  return AwaitScreen(
      [&](const std::string& screen) { return screen.find(text) != std::string::npos; });
}

bool Tmux::AwaitGone(std::string_view text) {
  return AwaitScreen(
      [&](const std::string& screen) { return screen.find(text) == std::string::npos; });
}

std::string Tmux::Ask(const std::string& format) { return Run({"display-message", "-p", format}); }

}  // namespace trapline::cli_test

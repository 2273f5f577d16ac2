// SPDX-License-Identifier: Apache-2.0
// The terminal as a screen of cells, by ncurses.
//
// Signals stay what cli/interrupts.h makes of them: they are blocked here, so the handlers that
// ncurses installs for SIGINT and SIGTERM never run, and Ctrl-C is a SIGINT, since the terminal is
// in cbreak mode and not in raw mode.
#include "cli/top/terminal_screen.h"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#define NCURSES_NOMACROS 1
#include <curses.h>

namespace trapline::cli::top {
namespace {

// Behind an Esc, the rest of an arrow key's sequence may take so long over a network.
constexpr int kEscapeDelayMs = 100;

enum Pair : short { kGreen = 1, kCyan, kYellow, kRed };

struct Look {
  attr_t attributes;
  short pair;
};

Look LookOf(Style style) {
  switch (style) {
    case Style::kPlain:
      return {A_NORMAL, 0};
    case Style::kDim:
      return {A_DIM, 0};
    case Style::kBold:
      return {A_BOLD, 0};
    case Style::kHeading:
      return {A_REVERSE, 0};
    case Style::kSelected:
      return {A_REVERSE | A_BOLD, 0};
    case Style::kGood:
      return {A_NORMAL, kGreen};
    case Style::kFair:
      return {A_NORMAL, kCyan};
    case Style::kDear:
      return {A_NORMAL, kYellow};
    case Style::kBad:
      return {A_BOLD, kRed};
  }
  return {A_NORMAL, 0};
}

void StartColours() {
  start_color();
  use_default_colors();
  init_pair(kGreen, COLOR_GREEN, -1);
  init_pair(kCyan, COLOR_CYAN, -1);
  init_pair(kYellow, COLOR_YELLOW, -1);
  init_pair(kRed, COLOR_RED, -1);
}

Key KeyOf(int code) {
  switch (code) {
    case KEY_UP:
      return Key::kUp;
    case KEY_DOWN:
      return Key::kDown;
    case KEY_PPAGE:
      return Key::kPageUp;
    case KEY_NPAGE:
      return Key::kPageDown;
    case KEY_HOME:
      return Key::kHome;
    case KEY_END:
      return Key::kEnd;
    case KEY_ENTER:
    case '\r':
    case '\n':
      return Key::kEnter;
    case KEY_BACKSPACE:
    case '\b':
    case 0x7f:
      return Key::kBackspace;
    case '\033':
      return Key::kEscape;
    case '\t':
      return Key::kTab;
    default:
      return code >= 0x20 && code < 0x7f ? Key::kCharacter : Key::kNone;
  }
}

}  // namespace

struct TerminalScreen::Curses {
  SCREEN* screen = nullptr;
  bool colour = false;

  ~Curses() {
    endwin();
    delscreen(screen);
  }
};

bool TerminalScreen::Possible() {
  const char* term = std::getenv("TERM");
  if (term == nullptr || *term == '\0' || absl::string_view(term) == "dumb") return false;
  return isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
}

absl::StatusOr<std::unique_ptr<TerminalScreen>> TerminalScreen::Open(bool colour) {
  std::setlocale(LC_CTYPE, "");
  // initscr would end the process where it fails.
  SCREEN* screen = newterm(nullptr, stdout, stdin);
  if (screen == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("the terminal type '", std::getenv("TERM"),
                     "' is not known here; set TERM to one that is, such as xterm or vt100, or "
                     "TERM=dumb for lines"));
  }
  auto curses = std::make_unique<Curses>();
  curses->screen = screen;
  curses->colour = colour && has_colors();
  set_escdelay(kEscapeDelayMs);
  cbreak();
  noecho();
  nonl();
  keypad(stdscr, TRUE);
  nodelay(stdscr, TRUE);
  leaveok(stdscr, TRUE);
  curs_set(0);
  if (curses->colour) StartColours();
  return std::unique_ptr<TerminalScreen>(new TerminalScreen(std::move(curses)));
}

TerminalScreen::TerminalScreen(std::unique_ptr<Curses> curses) : curses_(std::move(curses)) {
  glyphs_.utf8 = absl::string_view(nl_langinfo(CODESET)) == "UTF-8";
}

TerminalScreen::~TerminalScreen() = default;

ScreenSize TerminalScreen::Size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0 &&
      is_term_resized(size.ws_row, size.ws_col)) {
    resizeterm(size.ws_row, size.ws_col);
    clearok(curscr, TRUE);
  }
  return {getmaxy(stdscr), getmaxx(stdscr)};
}

void TerminalScreen::Paint(const Grid& grid) {
  werase(stdscr);
  for (int row = 0; row < grid.rows(); ++row) {
    for (int column = 0; column < grid.columns(); ++column) {
      const GridCell& from = grid.at(row, column);
      if (from.symbol == U' ' && from.style == Style::kPlain) continue;
      const Look look = LookOf(from.style);
      const std::array<wchar_t, 2> text = {static_cast<wchar_t>(from.symbol), L'\0'};
      cchar_t cell;
      setcchar(&cell, text.data(), look.attributes, curses_->colour ? look.pair : short{0},
               nullptr);
      (void)mvwadd_wch(stdscr, row, column, &cell);  // ERR at the last cell, though it is written
    }
  }
  wrefresh(stdscr);
}

KeyPress TerminalScreen::ReadKey() {
  const int code = wgetch(stdscr);
  if (code == ERR) return {};
  const Key key = KeyOf(code);
  return {key, key == Key::kCharacter ? static_cast<char>(code) : '\0'};
}

}  // namespace trapline::cli::top

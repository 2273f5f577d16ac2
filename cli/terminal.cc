// SPDX-License-Identifier: Apache-2.0
// The terminal: colour, raw mode, and writing everything.
#include "cli/terminal.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace trapline::cli {
namespace {

constexpr absl::string_view kPlainAgain = "\033[0m";
constexpr absl::string_view kReaderGonePayload = "trapline.cli/reader-gone";

absl::string_view EscapeSequence(Colour colour) {
  switch (colour) {
    case Colour::kGreen:
      return "\033[32m";
    case Colour::kRed:
      return "\033[31m";
    case Colour::kYellow:
      return "\033[33m";
    case Colour::kCyan:
      return "\033[36m";
    case Colour::kDim:
      return "\033[2m";
    case Colour::kBold:
      return "\033[1m";
    case Colour::kPlain:
      break;
  }
  return "";
}

}  // namespace

bool UsesColour(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* term = std::getenv("TERM");
  if (term == nullptr || absl::string_view(term) == "dumb") return false;
  return isatty(fd) == 1;
}

std::string Paint(absl::string_view text, Colour colour, bool enabled) {
  if (!enabled || colour == Colour::kPlain || text.empty()) return std::string(text);
  return absl::StrCat(EscapeSequence(colour), text, kPlainAgain);
}

Painted::Painted(Colour colour, bool enabled, std::string& out)
    : out_(enabled && colour != Colour::kPlain ? &out : nullptr) {
  if (out_ != nullptr) absl::StrAppend(out_, EscapeSequence(colour));
}

Painted::~Painted() {
  if (out_ != nullptr) absl::StrAppend(out_, kPlainAgain);
}

absl::Status WriteAll(int fd, absl::string_view bytes, absl::string_view where) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {  // someone left the terminal non-blocking
      pollfd writable{fd, POLLOUT, 0};
      (void)poll(&writable, 1, -1);
      continue;
    }
    if (errno == EPIPE) {
      absl::Status gone = absl::CancelledError("the reader of the output has gone");
      gone.SetPayload(kReaderGonePayload, absl::Cord());
      return gone;
    }
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", where));
  }
  return absl::OkStatus();
}

void Say(absl::string_view text) {
  (void)WriteAll(STDERR_FILENO, absl::StrCat("trapline: ", text, "\n"));
}

bool IsReaderGone(const absl::Status& status) {
  return status.GetPayload(kReaderGonePayload).has_value();
}

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  if (isatty(fd) != 1 || tcgetattr(fd, &before_) != 0) return;
  termios raw = before_;
  cfmakeraw(&raw);
  changed_ = tcsetattr(fd, TCSADRAIN, &raw) == 0;
}

RawTerminal::~RawTerminal() {
  if (changed_) (void)tcsetattr(fd_, TCSADRAIN, &before_);
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// `trapline sites top` on a screen.
//
// This thread alone knows the terminal and the view. It waits for keys and for news of the model,
// and draws at most ten times a second, what is visible of the model under the model's lock. The
// feed, what is done to sites and the page of an open one have threads of their own; they tell by
// SharedModel's descriptor. The terminal is given back before they are waited for.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "cli/exit_code.h"
#include "cli/names.h"
#include "cli/top/beat.h"
#include "cli/top/feed.h"
#include "cli/top/frame.h"
#include "cli/top/open_site.h"
#include "cli/top/run_top.h"
#include "cli/top/shared_model.h"
#include "cli/top/site_actions.h"
#include "cli/top/terminal_screen.h"

namespace trapline::cli::top {
namespace {

constexpr absl::Duration kBetweenFrames = absl::Milliseconds(100);
// How late a change of the terminal's size may be seen.
constexpr absl::Duration kTurn = absl::Milliseconds(200);
// The clock goes on, and marks wear off, without any news.
constexpr absl::Duration kStale = absl::Seconds(1);

class ScreenLoop {
 public:
  ScreenLoop(Session& session, const TopOptions& options)
      : session_(session),
        options_(options),
        model_(options.interval),
        beat_(options.interval, options.count),
        feed_(session, model_, options.vm, options.interval),
        actions_(session, model_) {
    view_.vm = options.vm.empty() ? "" : LastSegment(options.vm);
    view_.listing = options.listing;
    view_.most_rows = options.rows;
  }

  absl::StatusOr<int> Run();
  // Thread-safe.
  void End() {
    ended_ = true;
    model_.Wake();
  }

 private:
  void Turn();
  void Wait();
  void TakeKeys();
  void Answer(const Request& request);
  void TakeNews();
  void Draw(absl::Time now);

  Session& session_;
  const TopOptions& options_;
  SharedModel model_;
  std::atomic<bool> ended_{false};
  View view_;
  ScreenSize size_;
  std::optional<Model> frozen_;  // what a paused display shows
  SiteDetail detail_;
  Beat beat_;
  bool dirty_ = true;
  absl::Time drawn_at_ = absl::InfinitePast();
  Feed feed_;
  SiteActions actions_;
  std::unique_ptr<OpenSite> open_;
  std::unique_ptr<TerminalScreen> screen_;  // last: the first to go
};

absl::StatusOr<int> ScreenLoop::Run() {
  auto screen = TerminalScreen::Open(session_.output().colour());
  if (!screen.ok()) return screen.status();
  screen_ = *std::move(screen);
  while (!ended_ && feed_.status().ok()) Turn();
  screen_.reset();
  if (const absl::Status status = feed_.status(); !status.ok()) return status;
  return kOk;
}

void ScreenLoop::Turn() {
  Wait();
  TakeKeys();
  TakeNews();
  const ScreenSize size = screen_->Size();
  if (size.rows != size_.rows || size.columns != size_.columns) dirty_ = true;
  size_ = size;
  const absl::Time now = absl::Now();
  const bool stale = now - drawn_at_ >= kStale;
  if ((dirty_ && now - drawn_at_ >= kBetweenFrames) || stale) Draw(now);
  const bool counting = model_.Read([](const Model& model) { return model.has_rates(); });
  if (counting && beat_.Due(now) && beat_.over()) ended_ = true;
}

void ScreenLoop::Wait() {
  absl::Duration wait = kTurn;
  if (dirty_)
    wait = std::clamp(drawn_at_ + kBetweenFrames - absl::Now(), absl::ZeroDuration(), wait);
  std::array<pollfd, 2> fds{{{model_.wake_fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
  const auto milliseconds = static_cast<int>(absl::ToInt64Milliseconds(wait)) + 1;
  if (poll(fds.data(), fds.size(), milliseconds) <= 0) return;
  if ((fds[1].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) ended_ = true;  // nobody looks
  if (fds[0].revents != 0) {
    model_.Drain();
    dirty_ = true;
  }
}

void ScreenLoop::TakeKeys() {
  for (KeyPress press = screen_->ReadKey(); press.key != Key::kNone; press = screen_->ReadKey()) {
    Answer(frozen_ ? Press(view_, press, *frozen_)
                   : model_.Read([&](const Model& model) { return Press(view_, press, model); }));
    dirty_ = true;
  }
}

void ScreenLoop::Answer(const Request& request) {
  switch (request.kind) {
    case Request::Kind::kNone:
      return;
    case Request::Kind::kQuit:
      ended_ = true;
      return;
    case Request::Kind::kPause:
      if (view_.paused) {
        model_.Read([&](const Model& model) { frozen_.emplace(model); });
      } else {
        frozen_.reset();
      }
      return;
    case Request::Kind::kOpen:
      open_ = std::make_unique<OpenSite>(session_, model_, request.site, options_.interval);
      return;
    case Request::Kind::kClose:
      open_.reset();
      return;
    case Request::Kind::kTrace:
      open_->ToggleTrace();
      return;
    default:
      actions_.Do(request);
  }
}

void ScreenLoop::TakeNews() {
  if (const auto answer = actions_.TakeAnswer()) view_.Say(answer->text, answer->bad);
  if (model_.Quieten(absl::Now())) dirty_ = true;
  // A page that opens while the display is held is filled once.
  const bool unknown = !(detail_.key == view_.site) || !detail_.site;
  if (open_ && (!view_.paused || unknown)) detail_ = open_->detail();
}

void ScreenLoop::Draw(absl::Time now) {
  const auto draw = [&](const Model& model) {
    return DrawFrame(model, view_, detail_, size_, screen_->glyphs(), now);
  };
  screen_->Paint(frozen_ ? draw(*frozen_) : model_.Read(draw));
  drawn_at_ = now;
  dirty_ = false;
}

}  // namespace

absl::StatusOr<int> RunOnScreen(Session& session, const TopOptions& options) {
  ScreenLoop loop(session, options);
  const Interrupts::Guard guard(session.interrupts(), [&loop] { loop.End(); });
  return loop.Run();
}

}  // namespace trapline::cli::top

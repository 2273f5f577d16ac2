// SPDX-License-Identifier: Apache-2.0
// `trapline sites top` where there is no screen.
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <string>

#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "cli/top/beat.h"
#include "cli/top/feed.h"
#include "cli/top/figures.h"
#include "cli/top/lines.h"
#include "cli/top/run_top.h"
#include "cli/top/shared_model.h"

namespace trapline::cli::top {
namespace {

void Wait(SharedModel& model, absl::Duration wait) {
  pollfd news{model.wake_fd(), POLLIN, 0};
  (void)poll(&news, 1, static_cast<int>(absl::ToInt64Milliseconds(wait)) + 1);
  model.Drain();
}

absl::Status Print(const Output& out, const SharedModel& model, Listing& listing, size_t rows) {
  const absl::Time now = absl::Now();
  return out.Text(model.Read([&](const Model& known) {
    return out.people() ? LinesOf(known, listing, rows, now)
                        : JsonLineOf(known, listing, rows, now);
  }));
}

}  // namespace

absl::StatusOr<int> RunAsLines(Session& session, const TopOptions& options) {
  SharedModel model(options.interval);
  std::atomic<bool> ended{false};
  Feed feed(session, model, options.vm, options.interval);
  const Interrupts::Guard guard(session.interrupts(), [&] {
    ended = true;
    model.Wake();
  });
  Listing listing = options.listing;
  const size_t rows = options.rows == 0 ? kLines : options.rows;
  Beat beat(options.interval, options.count);
  std::string said;
  while (!ended && !beat.over()) {
    Wait(model, std::clamp(beat.next() - absl::Now(), absl::ZeroDuration(), options.interval));
    if (const absl::Status status = feed.status(); !status.ok()) return status;
    (void)model.Quieten(absl::Now());
    // To standard error, each time that it changes.
    const std::string trouble = model.Read(TroubleOf);
    if (trouble != said && !trouble.empty()) Say(trouble);
    said = trouble;
    const bool counting = model.Read([](const Model& known) { return known.has_rates(); });
    if (!counting || !beat.Due(absl::Now())) continue;
    const absl::Status status = Print(session.output(), model, listing, rows);
    if (!status.ok()) return status;
  }
  return kOk;
}

}  // namespace trapline::cli::top

// SPDX-License-Identifier: Apache-2.0
// A thread that waits.
#include "daemon/control/bounded_end.h"

#include <utility>

#include "core/base/thread.h"

namespace trapline::daemon {

BoundedEnd::~BoundedEnd() {
  if (!stopped_.HasBeenNotified()) stopped_.Notify();
  if (!stopping_.HasBeenNotified()) stopping_.Notify();
  if (thread_.joinable()) thread_.join();
}

absl::Status BoundedEnd::Start() {
  auto thread = base::StartThread("the daemon's end", [this] {
    stopping_.WaitForNotification();
    if (!stopped_.WaitForNotificationWithTimeout(most_)) end_();
  });
  if (!thread.ok()) return thread.status();
  thread_ = *std::move(thread);
  return absl::OkStatus();
}

}  // namespace trapline::daemon

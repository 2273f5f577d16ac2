// SPDX-License-Identifier: Apache-2.0
// The daemon's end takes so long at most: gRPC waits for calls that are being served for as long as
// those like, which may be an hour for a guest that is to stop.
#pragma once

#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace trapline::daemon {

class BoundedEnd {
 public:
  // End is called, on a thread of its own, where Stopped does not come so long after Stopping.
  BoundedEnd(absl::Duration most, std::function<void()> end) : most_(most), end_(std::move(end)) {}
  ~BoundedEnd();  // stopped

  // The thread is made before it is needed: by then there may be none.
  absl::Status Start();
  void Stopping() { stopping_.Notify(); }
  void Stopped() { stopped_.Notify(); }

 private:
  const absl::Duration most_;
  const std::function<void()> end_;
  absl::Notification stopping_, stopped_;
  std::thread thread_;
};

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// A VM that lives for one measurement: made, started, listened to, removed.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace trapline::cli {

// Called with all that the guest has said so far, each time it says more; false ends the VM.
using Listener = std::function<bool(absl::string_view output)>;

struct GuestRun {
  std::string output;  // of the serial port
  v1::Vm vm;           // as it ended
  absl::Time asked;    // just before it was asked for
  absl::Time started;  // just before it was asked to start
};

// Returns when the guest has ended or the listener has heard enough. The VM is removed whatever
// happens; CANCELLED after a signal.
absl::StatusOr<GuestRun> RunGuestOnce(Session& session, const v1::Vm& definition,
                                      const Listener& listener);

}  // namespace trapline::cli

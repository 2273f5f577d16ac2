// SPDX-License-Identifier: Apache-2.0
// A terminal on a guest's serial port.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace trapline::cli {

struct ConsoleOptions {
  std::string vm;    // resource name
  bool raw = false;  // a terminal in raw mode, with the escape key
  // Called once the stream is attached, so that nothing the guest says is missed: `run` starts the
  // VM here. A failure ends the console and is its result.
  std::function<absl::Status()> on_attached;
};

enum class ConsoleEnd {
  kGuestEnded,   // the VM is stopped or failed
  kDetached,     // Ctrl-] d
  kStopRequest,  // Ctrl-] q
  kInterrupted,  // a signal
};

// Copies standard input to the guest and the guest's output to standard output until one of those
// ends it. The end of standard input ends nothing: output goes on until the guest ends.
absl::StatusOr<ConsoleEnd> RunConsole(Session& session, const ConsoleOptions& options);

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// How the process ends. Scripts rely on these numbers; `trapline --help` and cli/README.md state
// them.
#pragma once

#include "absl/status/status.h"

namespace trapline::cli {

enum ExitCode : int {
  kOk = 0,
  kError = 1,        // anything that has no number of its own
  kUsage = 2,        // the command line, or what it asks for, is not valid
  kNotFound = 3,     // no such VM, site, file
  kWrongState = 4,   // the VM's state does not allow it, or another move is under way
  kUnavailable = 5,  // no daemon answers
  kDenied = 6,       // not permitted
  kTimeout = 7,      // --timeout passed
};

// After a signal that the command caught to clean up: what a shell reports for SIGINT.
constexpr int kInterruptedCode = 130;

// The exit code that stands for a status. Thread-safe.
ExitCode ExitCodeFor(const absl::Status& status);

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// The socket that systemd listens on for the daemon (traplined.socket), where there is one.
//
// It is there before the daemon is, and stays when the daemon ends or crashes: who connects
// meanwhile waits for the next one. The first client starts it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/base/unique_fd.h"

namespace trapline::daemon {

struct ActivatedSocket {
  base::UniqueFd fd;  // or none: nobody listens for this process
  std::string path;   // what it is bound to
};

// Takes it from the environment ($LISTEN_FDS), which has it no more afterwards. Before there are
// other threads. INVALID_ARGUMENT: there are several, or it is not a Unix stream socket that
// listens at a path.
absl::StatusOr<ActivatedSocket> TakeActivatedSocket();

}  // namespace trapline::daemon

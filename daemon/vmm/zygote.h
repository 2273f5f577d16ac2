// SPDX-License-Identifier: Apache-2.0
// The process that workers are forked from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/unique_fd.h"

namespace trapline::daemon {

// What a worker is to do.
struct WorkerTask {
  std::string socket;              // serve there
  std::vector<std::string> files;  // what the VM is made from
  base::UniqueFd ready;            // say so there (zygote_protocol.h)
};

// Serves requests of the daemon's on `control` until the daemon closes it or dies. Returns in each
// worker that it forks, with its task, and, with none, in the zygote itself, which is to exit.
// argv is main's: a worker's shows its socket, as if it had been started for it. The process must
// have one thread and nothing open that a worker must not have.
std::optional<WorkerTask> RunZygote(base::UniqueFd control, int argc, char** argv);

// Tells whoever waits for the worker that it serves; false: nobody does.
bool TellServing(const base::UniqueFd& ready);

}  // namespace trapline::daemon

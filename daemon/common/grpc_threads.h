// SPDX-License-Identifier: Apache-2.0
// Threads of gRPC 1.51's own, which a server has to have had before they are few.
//
// Where a server cannot have its first one, gRPC aborts. Its executor makes another whenever more
// than two closures wait for one of those it has, and where that cannot be made counts it all the
// same: what it gives to it, of calls and connections that have nothing to do with it, is lost for
// as long as the process lives.
#pragma once

#include "absl/status/status.h"

namespace trapline::daemon {

// As many as the executor can ever have: two for each CPU.
int AllExecutorThreads();

// Whether there are threads for a server that is about to be started, with so many of the
// executor's. RESOURCE_EXHAUSTED otherwise. Thread-safe.
absl::Status TryServerThreads(int executor_threads);

// Behind TryServerThreads, and the server's start. Returns once the executor has so many, or all.
// Not thread-safe.
void MakeExecutorThreads(int threads);

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// Has gRPC's executor make its threads while there are threads to be had.
//
// gRPC 1.51 makes one whenever more than two closures wait for one of those it has, and where it
// cannot be made counts it all the same: what it gives to that thread, of calls and connections
// that have nothing to do with it, is lost for as long as the process lives.
#pragma once

namespace trapline::daemon {

// As many as it can ever have: two for each CPU.
int AllExecutorThreads();

// Returns once there are so many, or all. gRPC is initialised, and stays so; whether there are
// threads to be had was tried before (core/base/thread.h). Not thread-safe.
void MakeExecutorThreads(int threads);

}  // namespace trapline::daemon

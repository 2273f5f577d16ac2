// SPDX-License-Identifier: Apache-2.0
// The context of a call to a worker, which never goes without a deadline.
//
// A worker may be stopped, by a debugger or a freezer, and its connection stays; whoever waits for
// it holds a thread, and a place among the calls of a client. The one call that may last is the
// watch of what happens to the VM, which ends with the worker.
#pragma once

#include <algorithm>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "grpcpp/server_context.h"

namespace trapline::daemon {

// How long a worker may take: for what many ask of it and can do without; for an answer out of its
// memory; for a move, without the time that its guest is given; to read and load the images.
constexpr absl::Duration kWorkerStatus = absl::Seconds(2), kWorkerAnswer = absl::Seconds(10),
                         kWorkerMove = absl::Seconds(30), kWorkerCreate = absl::Seconds(60);

class WorkerContext : public grpc::ClientContext {
 public:
  // client: when whoever the call is made for gives up.
  explicit WorkerContext(absl::Duration longest, absl::Time client = absl::InfiniteFuture()) {
    set_deadline(absl::ToChronoTime(std::min(absl::Now() + longest, client)));
  }
};

// When the client gives up; far away where it does not say.
inline absl::Time DeadlineOf(const grpc::ServerContextBase& client) {
  return absl::FromChrono(client.deadline());
}

}  // namespace trapline::daemon

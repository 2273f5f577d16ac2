// SPDX-License-Identifier: Apache-2.0
// The executor's come by more work than it has threads for: callbacks of alarms.
#include "daemon/common/grpc_threads.h"

#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "core/base/thread.h"
#include "grpc/support/cpu.h"
#include "grpc/support/time.h"
#include "grpcpp/alarm.h"

namespace trapline::daemon {
namespace {

// One that is run, one that may wait, and one that makes another thread.
constexpr int kOfEachThread = 3;
// Of a server as it starts, besides one for each CPU, and with some to spare.
constexpr int kServerThreads = 12;

int Cpus() { return static_cast<int>(gpr_cpu_num_cores()); }

}  // namespace

int AllExecutorThreads() { return 2 * Cpus(); }

absl::Status TryServerThreads(int executor_threads) {
  return base::TryThreads("gRPC's server", kServerThreads + Cpus() + executor_threads);
}

void MakeExecutorThreads(int threads) {
  const int count = kOfEachThread * (threads - 1);
  absl::Notification made;
  absl::BlockingCounter under_way(count);
  std::vector<grpc::Alarm> alarms(static_cast<size_t>(count));
  for (grpc::Alarm& alarm : alarms) {
    // What is due already waits for a thread as soon as Set returns.
    alarm.Set(gpr_inf_past(GPR_CLOCK_MONOTONIC), [&](bool) {
      made.WaitForNotification();
      under_way.DecrementCount();
    });
  }
  made.Notify();
  under_way.Wait();
}

}  // namespace trapline::daemon

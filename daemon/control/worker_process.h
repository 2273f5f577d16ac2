// SPDX-License-Identifier: Apache-2.0
// A VM's worker: the process, and the connection to it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/unique_fd.h"
#include "daemon/control/cgroup.h"
#include "daemon/control/zygote.h"
#include "trapline/worker/v1/worker.grpc.pb.h"

namespace trapline::daemon {

struct WorkerOptions {
  std::vector<std::string> words;  // trapline-vmm and the options that all workers have
  std::string directory;           // the VM's run directory, which is there
  bool must_be_confined = false;   // by every measure there is
  std::shared_ptr<const CgroupTree> cgroups{};  // null: workers are not to be confined
  std::shared_ptr<Zygote> zygote{};             // null: each worker is spawned
};

// Thread-safe but for Reap, which one thread calls.
class WorkerProcess {
 public:
  // Has the zygote fork a worker, or starts the program where that comes to nothing, and waits
  // until it serves. files: what its VM is made from (common/worker_files.h); it sees no others.
  // UNAVAILABLE with what went wrong.
  static absl::StatusOr<std::unique_ptr<WorkerProcess>> Start(
      const WorkerOptions& options, const std::vector<std::string>& files);
  // A worker that still serves in that directory, left by an earlier daemon. NOT_FOUND: there is
  // none. *status becomes what it says of itself; nothing where it does not answer now, in which
  // case it may be stopped or very busy, and may yet.
  static absl::StatusOr<std::unique_ptr<WorkerProcess>> Adopt(
      const std::string& directory, std::optional<worker::v1::Status>* status);
  ~WorkerProcess();

  worker::v1::Worker::Stub& stub() { return *stub_; }
  pid_t pid() const { return pid_; }
  // Sends the signal; nothing once it was reaped.
  void Kill(int signal);
  // Waits for its end, no longer than that.
  bool AwaitEnd(absl::Duration timeout);
  // Waits for its end, and says how it came: "killed by signal 9 (Killed)", "exited with 1".
  std::string Reap();
  // The worker outlives this object.
  void Leave() { left_ = true; }

 private:
  WorkerProcess(pid_t pid, bool child, const std::string& socket);

  pid_t pid_;
  const bool child_;
  std::atomic<bool> reaped_{false};
  bool left_ = false;
  base::UniqueFd pidfd_;  // an adopted one's number may be another process's by now
  std::unique_ptr<worker::v1::Worker::Stub> stub_;
};

std::string WorkerSocket(const std::string& directory);
std::string StatsPath(const std::string& directory);

}  // namespace trapline::daemon

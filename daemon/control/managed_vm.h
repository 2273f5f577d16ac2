// SPDX-License-Identifier: Apache-2.0
// A VM as the daemon keeps it: its definition, its state as last heard, its worker and its console.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/hypercall/stats_reader.h"
#include "daemon/control/activity.h"
#include "daemon/control/console_log.h"
#include "daemon/control/event_hub.h"
#include "daemon/control/host_probe.h"
#include "daemon/control/site_tracker.h"
#include "daemon/control/worker_process.h"
#include "daemon/metrics/call_tally.h"
#include "grpcpp/support/status.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::daemon {

// Thread-safe. Moves are one at a time: a second one is answered ABORTED.
class ManagedVm {
 public:
  // definition: name, uid, labels, create_time, spec. tally: may be null.
  ManagedVm(v1::Vm definition, WorkerOptions options, const HostProbe& host, EventHub& hub,
            Activity& activity, CallTally* tally);
  ~ManagedVm();

  // Starts a worker and has it check and load the images.
  grpc::Status Make();
  // Tells watchers that the VM is there.
  void Announce();
  // Takes over a worker that an earlier daemon left, if there is one.
  void Adopt();

  grpc::Status Move(const worker::v1::MoveRequest& request, v1::StopVmResponse::Outcome* outcome);
  // The worker's stub, or FAILED_PRECONDITION where it has none.
  grpc::Status Worker(std::shared_ptr<WorkerProcess>* worker);
  // For the daemon's own end: stops the VM, or leaves its worker running.
  void Retire(bool leave);

  // As it is known here, which is all but the count of instructions.
  v1::Vm Known() const;
  // The same with what only the workers know. They are asked all at once; one that does not answer
  // in time leaves out what it knows.
  static std::vector<v1::Vm> Snapshots(const std::vector<ManagedVm*>& vms);
  v1::Vm Snapshot() { return std::move(Snapshots({this}).front()); }
  // Registers and code of the vCPU whose fault ended the VM; empty where none did. Kept when the
  // worker is gone, until the VM is started again.
  std::string failure_report() const;
  v1::Vm::State state() const;
  std::pair<v1::Engine, v1::Vm::State> EngineAndState() const;
  std::string id() const { return id_; }
  ConsoleLog& console() { return console_; }
  std::string stats_path() const { return StatsPath(options_.directory); }
  // The stats file as it is now; another one than before where a worker made it anew. NOT_FOUND,
  // DATA_LOSS as StatsReader::Open has them.
  absl::StatusOr<std::shared_ptr<const hypercall::StatsReader>> Stats();
  // Symbols are looked up when somebody looks: has the worker put those of new sites into the stats
  // file. Without a worker there are those of the last time.
  void Symbolize();
  // The same without waiting: done is called, on some thread, once they are there or not to be had.
  void SymbolizeThen(std::function<void()> done);
  // What changed of the sites, for all who watch them.
  SiteTracker& tracker() { return tracker_; }
  // Has the worker zero the counters of one site or all.
  grpc::Status ResetCounters(const worker::v1::SiteRequest& request);
  // Waits up to timeout for a state for which the bit (1 << state) of states is set.
  bool AwaitState(uint32_t states, absl::Duration timeout);
  // Counts those who want hypercalls traced: tracing is on while there are any. An error, such as
  // no room for the records, leaves the count as it was.
  grpc::Status AddTracer();
  void RemoveTracer();

 private:
  grpc::Status EnsureWorker() ABSL_LOCKS_EXCLUDED(mutex_);
  void BeginWatchLocked(const std::shared_ptr<WorkerProcess>& worker)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Watch(const std::shared_ptr<WorkerProcess>& worker, grpc::ClientContext& context);
  void TakeFailureReport(WorkerProcess& worker) ABSL_LOCKS_EXCLUDED(mutex_);
  void SetState(v1::Vm::State state, v1::VmEvent::Kind kind, const std::string& reason,
                int exit_status);
  void Publish(v1::Vm::State state, v1::VmEvent::Kind kind, const std::string& reason,
               int exit_status);
  void JoinWatcher();
  grpc::Status SetTracing(bool on);
  std::shared_ptr<const hypercall::StatsReader> StatsOrNull();
  grpc::Status TraceAgain();

  const std::string id_;
  const WorkerOptions options_;
  const HostProbe& host_;
  EventHub& hub_;
  Activity& activity_;
  const std::shared_ptr<VmTally> tally_;  // null: nobody asks
  ConsoleLog console_;
  std::atomic<bool> moving_{false};
  std::atomic<bool> retiring_{false};

  mutable absl::Mutex mutex_;
  v1::Vm vm_ ABSL_GUARDED_BY(mutex_);
  std::string failure_report_ ABSL_GUARDED_BY(mutex_);  // not in vm_: it is long, and lists are too
  std::shared_ptr<WorkerProcess> worker_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<grpc::ClientContext> watch_ ABSL_GUARDED_BY(mutex_);  // the watcher's call
  uint64_t revision_ ABSL_GUARDED_BY(mutex_) = 1;
  std::thread watcher_;

  absl::Mutex stats_mutex_;
  std::shared_ptr<const hypercall::StatsReader> stats_ ABSL_GUARDED_BY(stats_mutex_);
  std::pair<uint64_t, uint64_t> stats_file_ ABSL_GUARDED_BY(stats_mutex_);  // device, inode
  SiteTracker tracker_{[this] { return Stats(); }};

  // Held while the worker is told, so that what it is told last is true; taken before mutex_.
  absl::Mutex tracing_mutex_;
  int tracers_ ABSL_GUARDED_BY(tracing_mutex_) = 0;
};

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// A VM as the daemon keeps it: its definition, its state as last heard, its worker and its console.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
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
#include "daemon/control/delay_queue.h"
#include "daemon/control/host_probe.h"
#include "daemon/control/journal.h"
#include "daemon/control/site_tracker.h"
#include "daemon/control/worker_process.h"
#include "daemon/metrics/call_tally.h"
#include "grpcpp/support/status.h"
#include "trapline/record/v1/record.pb.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::daemon {

inline bool Over(v1::Vm::State state) {
  return state == v1::Vm::STOPPED || state == v1::Vm::FAILED;
}

// What VMs share.
struct VmSurroundings {
  const HostProbe& host;
  Journal& journal;
  DelayQueue& later;
  Activity& activity;
  CallTally* tally;  // may be null
};

// Thread-safe. Moves are one at a time: a second one is answered ABORTED. Made by make_shared.
class ManagedVm : public std::enable_shared_from_this<ManagedVm> {
 public:
  // record: at least a vm with name, uid, labels, create_time and spec.
  ManagedVm(record::v1::VmRecord record, WorkerOptions options, const VmSurroundings& around);
  ~ManagedVm();

  // Starts a worker and has it check and load the images. until: when the client gives up.
  grpc::Status Make(absl::Time until);
  // Puts a VM that was made into the store, and tells of it; kept runs between.
  grpc::Status Keep(std::function<void()> kept);
  // Takes over a worker that an earlier daemon left, if there is one. What it did meanwhile is
  // told.
  void Adopt();
  // Waits until that is so, which a worker that does not answer leaves for later.
  void AwaitAdoption();
  // Takes it out of the store; nothing puts it back from then on.
  grpc::Status Forget();

  grpc::Status Move(const worker::v1::MoveRequest& request, absl::Time until,
                    v1::StopVmResponse::Outcome* outcome);
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
  // The same without waiting: done is called, on some thread.
  void SnapshotThen(std::function<void(v1::Vm)> done);
  // What only GetVm tells: registers and code of the vCPU whose fault ended the VM, kept when the
  // worker is gone until the VM is started again; what keeps its worker in.
  void FillDetails(v1::Vm* vm) const;
  // The request that made it, by its id; empty where it had none.
  std::pair<std::string, std::string> Request() const;
  v1::Vm::State state() const;
  std::pair<v1::Engine, v1::Vm::State> EngineAndState() const;
  std::string id() const { return id_; }
  ConsoleLog& console() { return console_; }
  std::string stats_path() const { return StatsPath(options_.directory); }
  // The stats file as it is now; another one than before where a worker made it anew. NOT_FOUND,
  // DATA_LOSS as StatsReader::Open has them.
  absl::StatusOr<std::shared_ptr<const hypercall::StatsReader>> Stats();
  // Symbols are looked up when somebody looks: has the worker put those of new sites into the stats
  // file. Without a worker there are those of the last time, and where it does not answer too.
  void Symbolize(absl::Time until = absl::InfiniteFuture());
  // The same without waiting: done is called, on some thread, once they are there or not to be had.
  void SymbolizeThen(std::function<void()> done);
  // What changed of the sites, for all who watch them.
  SiteTracker& tracker() { return tracker_; }
  // What the worker was told of a policy shall hold for the workers that follow as well. gpa: of a
  // site; no policy: the VM's again.
  grpc::Status KeepPolicy(std::optional<uint64_t> gpa, const std::optional<v1::Policy>& policy);
  // Has the worker zero the counters of one site or all.
  grpc::Status ResetCounters(const worker::v1::SiteRequest& request, absl::Time until);
  // Counts those who want hypercalls traced: tracing is on while there are any. told is called, on
  // some thread, with what the worker said, such as that there is no room for the records. Each
  // tracer that is added is removed, whatever that was.
  using Told = std::function<void(const grpc::Status&)>;
  void AddTracer(Told told);
  void RemoveTracer();

 private:
  grpc::Status EnsureWorker(absl::Time until) ABSL_LOCKS_EXCLUDED(mutex_);
  worker::v1::CreateRequest Wanted() const ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<std::string> Files() const ABSL_LOCKS_EXCLUDED(mutex_);
  grpc::Status NoWorkerLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status BeginWatchLocked(const std::shared_ptr<WorkerProcess>& worker)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Watch(const std::shared_ptr<WorkerProcess>& worker);
  // What ended it.
  grpc::StatusCode WatchOnce(WorkerProcess& worker);
  void CaughtUp(const worker::v1::Status& status);
  v1::Confinement::Measure JoinCgroup(const v1::VmSpec& spec, pid_t pid) const;
  // Waits for the worker's end, says how it came, and takes its cgroup away.
  std::string Bury(WorkerProcess& worker) const;
  void WorkerGone(const std::shared_ptr<WorkerProcess>& worker);
  void TakeFailureReport(WorkerProcess& worker) ABSL_LOCKS_EXCLUDED(mutex_);
  void JoinWatcher();
  void TakeOver(const std::shared_ptr<WorkerProcess>& worker,
                std::optional<worker::v1::Status> status);
  void LeaveStranger(std::shared_ptr<WorkerProcess> worker, const worker::v1::Status& status);
  void FoundNoWorker();

  // Something happened: it is taken in, kept, and told.
  void Happened(v1::VmEvent event) ABSL_LOCKS_EXCLUDED(mutex_);
  void Happened(v1::VmEvent::Kind kind, v1::Vm::State state, const std::string& reason);
  void ApplyLocked(const v1::VmEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the restart policy makes of it; adds that to the events.
  void PlanLocked(const v1::VmEvent& event, std::vector<v1::VmEvent>* events)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  v1::VmEvent EventLocked(v1::VmEvent::Kind kind, const std::string& reason) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Has the VM started when its record says so, if that still holds then.
  void StartLater(absl::Time when);
  void StartAgain();
  // Whoever asked for a stop wants no restart.
  void StopAsked();
  grpc::Status MoveHeld(const worker::v1::MoveRequest& request, absl::Time until,
                        v1::StopVmResponse::Outcome* outcome);
  void TellTracing();
  void TracingTold(const std::vector<Told>& told, const grpc::Status& status);
  std::shared_ptr<const hypercall::StatsReader> StatsOrNull();
  grpc::Status TraceAgain();

  const std::string id_;
  const WorkerOptions options_;
  const std::string cgroup_;
  const VmSurroundings around_;
  const std::shared_ptr<VmTally> tally_;  // null: nobody asks
  ConsoleLog console_;
  std::atomic<bool> moving_{false};
  std::atomic<bool> retiring_{false};

  // Held while the record is changed and written, so that the store has the last one; taken before
  // mutex_.
  absl::Mutex recording_;
  bool forgotten_ ABSL_GUARDED_BY(recording_) = true;  // not in the store
  mutable absl::Mutex mutex_;
  record::v1::VmRecord record_ ABSL_GUARDED_BY(mutex_);
  v1::Confinement confinement_ ABSL_GUARDED_BY(mutex_);  // the worker's
  // The number of the worker's last event that has been kept and told.
  uint64_t events_kept_ ABSL_GUARDED_BY(mutex_) = 0;
  bool by_request_ ABSL_GUARDED_BY(mutex_) = false;  // a start that is under way
  std::shared_ptr<WorkerProcess> worker_ ABSL_GUARDED_BY(mutex_);
  // One that this build cannot speak to, and why.
  std::shared_ptr<WorkerProcess> stranger_ ABSL_GUARDED_BY(mutex_);
  std::string stranger_reason_ ABSL_GUARDED_BY(mutex_);
  bool caught_up_ ABSL_GUARDED_BY(mutex_) = false;  // with what a worker did before it was watched
  std::shared_ptr<grpc::ClientContext> watch_ ABSL_GUARDED_BY(mutex_);  // the watcher's call
  uint64_t revision_ ABSL_GUARDED_BY(mutex_) = 1;
  std::thread watcher_;

  absl::Mutex stats_mutex_;
  std::shared_ptr<const hypercall::StatsReader> stats_ ABSL_GUARDED_BY(stats_mutex_);
  std::pair<uint64_t, uint64_t> stats_file_ ABSL_GUARDED_BY(stats_mutex_);  // device, inode
  SiteTracker tracker_{[this] { return Stats(); }, options_.directory + "/revisions"};

  absl::Mutex tracing_mutex_;
  int tracers_ ABSL_GUARDED_BY(tracing_mutex_) = 0;
  // The worker is told by one call at a time, so that what it is told last is true; nobody's thread
  // waits for it.
  bool telling_ ABSL_GUARDED_BY(tracing_mutex_) = false;
  bool tell_again_ ABSL_GUARDED_BY(tracing_mutex_) = false;
  std::vector<Told> to_be_told_ ABSL_GUARDED_BY(tracing_mutex_);  // of the next call
};

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// The worker's state is the truth; what is kept here follows its watch stream. A stream that ends
// means that the worker did.
#include "daemon/control/managed_vm.h"

#include <signal.h>
#include <sys/stat.h>

#include <future>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "core/base/thread.h"
#include "daemon/common/convert.h"
#include "daemon/common/errors.h"
#include "daemon/common/logging.h"
#include "daemon/common/worker_files.h"
#include "daemon/common/worker_protocol.h"
#include "daemon/control/restart_plan.h"
#include "daemon/control/worker_context.h"

namespace trapline::daemon {
namespace {

constexpr absl::Duration kMoveUnderWay = absl::Milliseconds(50), kEndTimeout = absl::Seconds(5);
constexpr absl::Duration kWatchAgain = absl::Milliseconds(100);
constexpr size_t kMaxSitePolicies = 4096;  // they are written with every event of their VM

std::string StateWord(v1::Vm::State state) { return v1::Vm::State_Name(state); }

struct MoveRule {
  worker::v1::MoveRequest::Kind kind;
  const char* name;
  std::vector<v1::Vm::State> from;
};
const std::vector<MoveRule>& Rules() {
  static const std::vector<MoveRule> rules = {
      {worker::v1::MoveRequest::START, "start", {v1::Vm::CREATED, v1::Vm::STOPPED, v1::Vm::FAILED}},
      {worker::v1::MoveRequest::PAUSE, "pause", {v1::Vm::RUNNING}},
      {worker::v1::MoveRequest::RESUME, "resume", {v1::Vm::PAUSED}},
      {worker::v1::MoveRequest::RESET, "reset", {v1::Vm::RUNNING, v1::Vm::PAUSED}},
  };
  return rules;
}

grpc::Status CheckMove(worker::v1::MoveRequest::Kind kind, v1::Vm::State state) {
  for (const MoveRule& rule : Rules()) {
    if (rule.kind != kind) continue;
    std::string allowed;
    for (v1::Vm::State from : rule.from) {
      if (from == state) return grpc::Status::OK;
      absl::StrAppend(&allowed, allowed.empty() ? "" : ",", StateWord(from));
    }
    return Error(grpc::FAILED_PRECONDITION, "VM_WRONG_STATE",
                 absl::StrCat("cannot ", rule.name, " a VM that is ", StateWord(state),
                              "; it must be ", allowed),
                 {{"current", StateWord(state)}, {"allowed", allowed}, {"move", rule.name}});
  }
  return grpc::Status::OK;
}

// As a worker is told of them (common/worker_files.h).
std::vector<std::string> FilesOf(const record::v1::VmRecord& record) {
  const v1::VmSpec& spec = record.vm().spec();
  const char* prefix = record.images_without_links() ? kWithoutLinks : "";
  std::vector<std::string> files;
  for (const std::string& path : {spec.kernel_path(), spec.initrd_path(), spec.symbols_path()}) {
    if (!path.empty()) files.push_back(absl::StrCat(prefix, path));
  }
  return files;
}

// FAILED_PRECONDITION, with all that is missing, unless every measure is in force.
grpc::Status CheckConfined(const std::string& id, const v1::Confinement& confinement) {
  std::string missing;
  for (const auto& measure : confinement.measures()) {
    if (measure.state() != v1::Confinement::Measure::APPLIED)
      absl::StrAppend(&missing, missing.empty() ? "" : "; ", measure.name(), ": ",
                      measure.detail());
  }
  if (missing.empty() && !confinement.measures().empty()) return grpc::Status::OK;
  return Error(grpc::FAILED_PRECONDITION, "NOT_CONFINED",
               absl::StrCat("the worker of VM ", id,
                            " cannot be confined on this host as the "
                            "daemon requires (--require-confinement): ",
                            missing),
               {{"vm", id}, {"missing", missing}});
}

absl::Duration GraceOf(const worker::v1::MoveRequest& request) {
  return absl::Seconds(request.grace_period().seconds()) +
         absl::Nanoseconds(request.grace_period().nanos());
}

}  // namespace

ManagedVm::ManagedVm(record::v1::VmRecord record, WorkerOptions options,
                     const VmSurroundings& around)
    : id_(record.vm().name().substr(record.vm().name().find('/') + 1)),
      options_(std::move(options)),
      cgroup_(absl::StrCat("vm-", id_, "-", record.vm().uid().substr(0, 8))),
      around_(around),
      tally_(around.tally ? around.tally->Open(id_) : nullptr),
      record_(std::move(record)) {}

ManagedVm::~ManagedVm() {
  retiring_ = true;
  {
    absl::MutexLock lock(&mutex_);
    if (worker_) worker_->Kill(SIGKILL);
  }
  JoinWatcher();
  if (tally_) tally_->Close();
  absl::MutexLock lock(&mutex_);
  if (worker_) Bury(*worker_);
}

void ManagedVm::JoinWatcher() {
  if (watcher_.joinable()) watcher_.join();
}

void ManagedVm::FillDetails(v1::Vm* vm) const {
  absl::MutexLock lock(&mutex_);
  vm->set_failure_report(record_.vm().failure_report());
  if (worker_) *vm->mutable_confinement() = confinement_;
}

std::pair<std::string, std::string> ManagedVm::Request() const {
  absl::MutexLock lock(&mutex_);
  return {record_.request_id(), record_.request()};
}

v1::Vm::State ManagedVm::state() const {
  absl::MutexLock lock(&mutex_);
  return record_.vm().state();
}

std::pair<v1::Engine, v1::Vm::State> ManagedVm::EngineAndState() const {
  absl::MutexLock lock(&mutex_);
  return {record_.vm().engine(), record_.vm().state()};
}

// ---- The worker ----

// The definition, and what was said since of policies.
worker::v1::CreateRequest ManagedVm::Wanted() const {
  worker::v1::CreateRequest request;
  request.set_name(id_);
  request.set_stats_path(stats_path());
  *request.mutable_host_probe() = ToProto(around_.host.Get());
  absl::MutexLock lock(&mutex_);
  *request.mutable_spec() = record_.vm().spec();
  if (record_.has_policy()) *request.mutable_spec()->mutable_policy() = record_.policy();
  *request.mutable_site_policies() = record_.site_policies();
  return request;
}

std::vector<std::string> ManagedVm::Files() const {
  absl::MutexLock lock(&mutex_);
  return FilesOf(record_);
}

grpc::Status ManagedVm::EnsureWorker(absl::Time until) {
  {
    absl::MutexLock lock(&mutex_);
    if (worker_) return grpc::Status::OK;
    if (stranger_) return NoWorkerLocked();
  }
  JoinWatcher();
  worker::v1::CreateRequest request = Wanted();
  auto started = WorkerProcess::Start(options_, Files());
  if (!started.ok()) {
    ++around_.activity.workers_not_started;
    return FromCore(started.status());
  }
  std::shared_ptr<WorkerProcess> worker = *std::move(started);
  *request.add_measures() = JoinCgroup(request.spec(), worker->pid());
  WorkerContext context(kWorkerCreate, until);
  worker::v1::Status response;
  grpc::Status made = worker->stub().Create(&context, request, &response);
  if (!made.ok()) {
    worker->Kill(SIGKILL);  // unless it is dead: then what it died of stays
    const std::string how = Bury(*worker);
    if (!made.error_details().empty()) return made;
    ++around_.activity.workers_not_started;
    if (made.error_code() == grpc::DEADLINE_EXCEEDED) return FromWorker(made, id_);
    return Error(grpc::UNAVAILABLE, "WORKER_LOST",
                 absl::StrCat("the worker of VM ", id_, " was ", how,
                              " while it loaded the images; the daemon's log has its last words"),
                 {{"vm", id_}});
  }
  if (options_.must_be_confined) {
    auto status = CheckConfined(id_, response.confinement());
    if (!status.ok()) {
      worker->Kill(SIGKILL);
      Bury(*worker);
      return status;
    }
  }
  ++around_.activity.workers_started;
  if (tally_) tally_->Follow(StatsOrNull(), response.engine(), true);
  absl::Status begun;
  {
    absl::MutexLock lock(&mutex_);
    record_.mutable_vm()->set_engine(response.engine());
    record_.mutable_vm()->set_engine_reason(response.engine_reason());
    record_.set_worker(response.life());
    record_.set_events_taken(0);
    events_kept_ = 0;
    confinement_ = response.confinement();
    begun = BeginWatchLocked(worker);
    if (begun.ok()) worker_ = worker;
  }
  if (!begun.ok()) {
    worker->Kill(SIGKILL);
    Bury(*worker);
    return FromCore(begun);
  }
  return TraceAgain();
}

v1::Confinement::Measure ManagedVm::JoinCgroup(const v1::VmSpec& spec, pid_t pid) const {
  if (options_.cgroups) return options_.cgroups->Join(cgroup_, pid, LimitsFor(spec));
  v1::Confinement::Measure measure;
  measure.set_name("cgroup");
  measure.set_state(v1::Confinement::Measure::OFF);
  measure.set_detail("the daemon was told so");
  return measure;
}

std::string ManagedVm::Bury(WorkerProcess& worker) const {
  std::string how = worker.Reap();
  if (!options_.cgroups) return how;
  if (const std::string why = options_.cgroups->OutOfMemory(cgroup_); !why.empty())
    absl::StrAppend(&how, ", ", why);
  options_.cgroups->Remove(cgroup_);
  return how;
}

grpc::Status ManagedVm::Make(absl::Time until) {
  if (auto status = EnsureWorker(until); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  record_.mutable_vm()->set_state(v1::Vm::CREATED);
  record_.mutable_vm()->set_state_reason("created");
  return grpc::Status::OK;
}

grpc::Status ManagedVm::Keep(std::function<void()> kept) {
  absl::MutexLock recording(&recording_);
  StoreChange change;
  {
    absl::MutexLock lock(&mutex_);
    change.put.push_back(record_);
    change.events.push_back(EventLocked(v1::VmEvent::CREATED, "created"));
  }
  absl::Status status = around_.journal.Commit(std::move(change), std::move(kept));
  forgotten_ = !status.ok();
  return FromCore(status);
}

grpc::Status ManagedVm::Forget() {
  absl::MutexLock recording(&recording_);
  StoreChange change;
  {
    absl::MutexLock lock(&mutex_);
    change.erase.push_back(record_.vm().name());
  }
  absl::Status status = around_.journal.Commit(std::move(change));
  if (status.ok()) forgotten_ = true;
  return FromCore(status);
}

grpc::Status ManagedVm::KeepPolicy(std::optional<uint64_t> gpa,
                                   const std::optional<v1::Policy>& policy) {
  absl::MutexLock recording(&recording_);
  StoreChange change;
  {
    absl::MutexLock lock(&mutex_);
    auto& of_sites = *record_.mutable_site_policies();
    if (!gpa) {
      *record_.mutable_policy() = policy.value_or(v1::Policy());
    } else if (!policy) {
      of_sites.erase(*gpa);
    } else if (of_sites.size() >= kMaxSitePolicies && !of_sites.contains(*gpa)) {
      return Error(grpc::RESOURCE_EXHAUSTED, "TOO_MANY_SITE_POLICIES",
                   absl::StrCat("the policy is in force until the worker's end, but not kept: that "
                                "is done for ",
                                kMaxSitePolicies, " sites of a VM"),
                   {{"vm", id_}, {"limit", absl::StrCat(kMaxSitePolicies)}});
    } else {
      of_sites[*gpa] = *policy;
    }
    change.put.push_back(record_);
  }
  absl::Status kept = around_.journal.Commit(std::move(change));
  if (kept.ok()) return grpc::Status::OK;
  return FromCore(absl::Status(
      kept.code(), absl::StrCat("the policy is in force, but not kept: ", kept.message())));
}

absl::Status ManagedVm::BeginWatchLocked(const std::shared_ptr<WorkerProcess>& worker) {
  auto started = base::StartThread("a VM's events", [this, worker] { Watch(worker); });
  if (!started.ok()) return started.status();
  watcher_ = *std::move(started);
  return absl::OkStatus();
}

void ManagedVm::Watch(const std::shared_ptr<WorkerProcess>& worker) {
  // A worker that has no thread for it yet is none the worse for that.
  bool told = false;
  while (WatchOnce(*worker) == grpc::RESOURCE_EXHAUSTED && !worker->AwaitEnd(kWatchAgain)) {
    if (std::exchange(told, true)) continue;
    Log(spdlog::level::warn, "what a VM does is not known yet: its worker has no thread to tell",
        {{"vm", id_}});
  }
  if (!retiring_) WorkerGone(worker);
}

grpc::StatusCode ManagedVm::WatchOnce(WorkerProcess& worker) {
  auto context = std::make_shared<grpc::ClientContext>();
  context->set_wait_for_ready(true);
  worker::v1::WatchRequest from;
  {
    absl::MutexLock lock(&mutex_);
    if (retiring_) return grpc::CANCELLED;
    watch_ = context;
    from.set_after_event(record_.events_taken());
  }
  auto stream = worker.stub().Watch(context.get(), from);
  worker::v1::Happening happening;
  while (stream->Read(&happening)) {
    if (happening.has_console()) console_.Append(happening.console());
    if (happening.has_caught_up()) CaughtUp(happening.caught_up());
    if (happening.has_event()) {
      const v1::VmEvent& event = happening.event();
      // Before anybody hears of the failure, and while there is a worker to ask.
      if (event.state() == v1::Vm::FAILED) TakeFailureReport(worker);
      Happened(event);
      // Who looks into it later may find no worker that could tell the symbols.
      if (event.state() == v1::Vm::FAILED) Symbolize();
    }
  }
  return stream->Finish().error_code();
}

// Its state is what the events before have made of it.
void ManagedVm::CaughtUp(const worker::v1::Status& status) {
  absl::MutexLock lock(&mutex_);
  record_.mutable_vm()->set_engine(status.engine());
  record_.mutable_vm()->set_engine_reason(status.engine_reason());
  confinement_ = status.confinement();
  caught_up_ = true;
}

void ManagedVm::WorkerGone(const std::shared_ptr<WorkerProcess>& worker) {
  worker->Kill(SIGKILL);  // whatever cut the stream, what is left of the worker is of no use
  std::string how = Bury(*worker);
  ++around_.activity.workers_lost;
  std::string reason = absl::StrCat("the worker was lost: ", how);
  {
    absl::MutexLock lock(&mutex_);
    worker_ = nullptr;
    caught_up_ = true;
    // Why the VM failed in the first place is what matters.
    if (record_.vm().state() == v1::Vm::FAILED)
      reason = absl::StrCat(record_.vm().state_reason(), "; then ", reason);
  }
  Happened(v1::VmEvent::FAILED, v1::Vm::FAILED, reason);
}

void ManagedVm::TakeFailureReport(WorkerProcess& worker) {
  WorkerContext context(kWorkerStatus);
  worker::v1::Status status;
  if (!worker.stub().GetStatus(&context, {}, &status).ok()) return;
  absl::MutexLock lock(&mutex_);
  record_.mutable_vm()->set_failure_report(status.failure_report());
}

// ---- After a daemon's start ----

void ManagedVm::Adopt() {
  {
    absl::MutexLock recording(&recording_);
    forgotten_ = false;
  }
  std::optional<worker::v1::Status> status;
  auto adopted = WorkerProcess::Adopt(options_.directory, &status);
  if (!adopted.ok()) return FoundNoWorker();
  std::shared_ptr<WorkerProcess> worker = *std::move(adopted);
  if (!status) {
    Log(spdlog::level::warn, "a worker does not answer; its VM is as it was last heard of",
        {{"vm", id_}, {"pid", absl::StrCat(worker->pid())}});
  } else if (status->protocol() < kOldestWorkerProtocol || status->protocol() > kWorkerProtocol) {
    return LeaveStranger(std::move(worker), *status);
  } else if (status->state() == v1::Vm::STATE_UNSPECIFIED) {
    // Its daemon was gone before it had told it what to make.
    worker->Kill(SIGKILL);
    Bury(*worker);
    return FoundNoWorker();
  }
  TakeOver(worker, std::move(status));
}

void ManagedVm::TakeOver(const std::shared_ptr<WorkerProcess>& worker,
                         std::optional<worker::v1::Status> status) {
  // Those for whom the earlier daemon had calls recorded are gone.
  if (status) {
    WorkerContext tracing(kWorkerStatus);
    google::protobuf::Empty ignored;
    worker->stub().SetTracing(&tracing, {}, &ignored);
  }
  if (tally_) tally_->Follow(StatsOrNull(), EngineAndState().first, false);
  absl::MutexLock lock(&mutex_);
  if (status && record_.vm().state() == v1::Vm::STATE_UNSPECIFIED) {
    record_.mutable_vm()->set_state(status->state());
    record_.mutable_vm()->set_state_reason(status->reason());
  }
  if (status && status->life() != record_.worker()) {
    record_.set_worker(status->life());
    record_.set_events_taken(0);
  }
  if (status) confinement_ = status->confinement();
  worker_ = worker;
  if (auto begun = BeginWatchLocked(worker); !begun.ok()) {
    Log(spdlog::level::err, "a VM that was found is not followed yet",
        {{"vm", id_}, {"reason", std::string(begun.message())}});
    worker_ = nullptr;
    around_.later.At(absl::Now() + absl::Seconds(1),
                     [weak = weak_from_this(), worker, status = std::move(status)]() mutable {
                       if (auto vm = weak.lock()) vm->TakeOver(worker, std::move(status));
                     });
    return;
  }
  ++around_.activity.workers_adopted;
}

void ManagedVm::LeaveStranger(std::shared_ptr<WorkerProcess> worker,
                              const worker::v1::Status& status) {
  const bool older = status.protocol() < kOldestWorkerProtocol;
  absl::MutexLock lock(&mutex_);
  stranger_reason_ = absl::StrCat(
      "its worker is of ", older ? "an older" : "a newer", " build (protocol ", status.protocol(),
      "; this traplined speaks ", kOldestWorkerProtocol, " to ", kWorkerProtocol,
      ") and was left alone: control it with that build's traplined, or delete it by force");
  stranger_ = std::move(worker);
  record_.mutable_vm()->set_state(status.state());
  record_.mutable_vm()->set_state_reason(absl::StrCat(status.reason(), "; ", stranger_reason_));
  caught_up_ = true;
  Log(spdlog::level::warn, "a VM cannot be controlled",
      {{"vm", id_}, {"reason", stranger_reason_}});
}

void ManagedVm::FoundNoWorker() {
  if (tally_) tally_->Follow(StatsOrNull(), v1::ENGINE_UNSPECIFIED, false);
  v1::Vm::State before;
  {
    absl::MutexLock lock(&mutex_);
    v1::Vm& vm = *record_.mutable_vm();
    before = vm.state();
    if (before == v1::Vm::STATE_UNSPECIFIED) {
      vm.set_state(v1::Vm::STOPPED);
      vm.set_state_reason("the daemon was started anew and found no worker");
    }
    caught_up_ = true;
  }
  if (before == v1::Vm::RUNNING || before == v1::Vm::PAUSED)
    Happened(v1::VmEvent::FAILED, v1::Vm::FAILED,
             "the worker was lost while no daemon ran, with the machine or by itself");
}

void ManagedVm::AwaitAdoption() {
  std::optional<absl::Time> start;
  {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&caught_up_), kWorkerStatus);
    if (record_.vm().has_next_start_time()) start = ToAbsl(record_.vm().next_start_time());
  }
  if (start) StartLater(*start);
}

// ---- What happens ----

v1::VmEvent ManagedVm::EventLocked(v1::VmEvent::Kind kind, const std::string& reason) const {
  v1::VmEvent event;
  event.set_vm(record_.vm().name());
  event.set_kind(kind);
  event.set_state(record_.vm().state());
  event.set_reason(reason);
  return event;
}

void ManagedVm::Happened(v1::VmEvent::Kind kind, v1::Vm::State state, const std::string& reason) {
  v1::VmEvent event;
  event.set_kind(kind);
  event.set_state(state);
  event.set_reason(reason);
  Happened(std::move(event));
}

void ManagedVm::Happened(v1::VmEvent event) {
  event.set_vm("vms/" + id_);
  const uint64_t number = event.sequence();
  absl::MutexLock recording(&recording_);
  StoreChange change;
  std::optional<absl::Time> start;
  {
    absl::MutexLock lock(&mutex_);
    ApplyLocked(event);
    event.clear_sequence();  // the worker's own
    change.events.push_back(event);
    PlanLocked(event, &change.events);
    if (change.events.back().kind() == v1::VmEvent::RESTART_PENDING)
      start = ToAbsl(record_.vm().next_start_time());
    ++revision_;
    if (!forgotten_) change.put.push_back(record_);
  }
  for (const v1::VmEvent& told : change.events) {
    Log(spdlog::level::info, "vm event",
        {{"vm", id_},
         {"kind", v1::VmEvent::Kind_Name(told.kind())},
         {"state", StateWord(told.state())},
         {"reason", told.reason()}});
  }
  around_.journal.Note(std::move(change));
  if (number != 0) {
    absl::MutexLock lock(&mutex_);
    events_kept_ = number;
  }
  if (start) StartLater(*start);
}

void ManagedVm::ApplyLocked(const v1::VmEvent& event) {
  v1::Vm& vm = *record_.mutable_vm();
  vm.set_state(event.state());
  vm.set_state_reason(event.reason());
  if (event.sequence() != 0) record_.set_events_taken(event.sequence());
  if (event.kind() == v1::VmEvent::GUEST_EXIT) vm.set_exit_status(event.exit_status());
  if (event.kind() != v1::VmEvent::STARTED) return;
  vm.clear_exit_status();
  vm.clear_failure_report();
  *record_.mutable_run_began() = event.has_time() ? event.time() : Now();
  record_.clear_stop_asked();
  const bool again = vm.has_next_start_time() && !by_request_;
  vm.set_restart_count(again ? vm.restart_count() + 1 : 0);
  vm.clear_next_start_time();
}

void ManagedVm::PlanLocked(const v1::VmEvent& event, std::vector<v1::VmEvent>* events) {
  const bool ended = event.kind() == v1::VmEvent::STOPPED || event.kind() == v1::VmEvent::FAILED;
  if (!ended || !record_.has_run_began()) return;
  v1::Vm& vm = *record_.mutable_vm();
  const absl::Time now = event.has_time() ? ToAbsl(event.time()) : absl::Now();
  const bool failed = event.state() == v1::Vm::FAILED || vm.exit_status() != 0;
  std::optional<RestartPlan> plan;
  if (!record_.stop_asked())
    plan = PlanRestart(vm.spec().restart(),
                       {failed, vm.restart_count(), now - ToAbsl(record_.run_began())});
  record_.clear_run_began();
  record_.clear_stop_asked();
  if (!plan) return;
  vm.set_restart_count(plan->restarts);
  vm.set_state_reason(absl::StrCat(event.reason(), "; ", plan->reason));
  if (plan->restart) *vm.mutable_next_start_time() = FromAbsl(absl::Now() + plan->wait);
  events->push_back(EventLocked(
      plan->restart ? v1::VmEvent::RESTART_PENDING : v1::VmEvent::RESTART_GIVEN_UP, plan->reason));
}

// ---- Restarts ----

void ManagedVm::StartLater(absl::Time when) {
  around_.later.At(when, [weak = weak_from_this()] {
    if (auto vm = weak.lock()) vm->StartAgain();
  });
}

void ManagedVm::StartAgain() {
  if (retiring_) return;
  if (moving_.exchange(true)) return StartLater(absl::Now() + kMoveUnderWay);
  absl::Cleanup done = [this] { moving_ = false; };
  {
    absl::MutexLock lock(&mutex_);
    const v1::Vm& vm = record_.vm();
    if (!vm.has_next_start_time() || ToAbsl(vm.next_start_time()) > absl::Now()) return;
  }
  worker::v1::MoveRequest start;
  start.set_kind(worker::v1::MoveRequest::START);
  v1::StopVmResponse::Outcome unused;
  grpc::Status status = MoveHeld(start, absl::InfiniteFuture(), &unused);
  if (status.ok() || retiring_) return;
  {
    // An attempt is a restart as well, of a run that did not last.
    absl::MutexLock lock(&mutex_);
    v1::Vm& vm = *record_.mutable_vm();
    if (!vm.has_next_start_time()) return;  // it had begun, and is over already
    vm.clear_next_start_time();
    vm.set_restart_count(vm.restart_count() + 1);
    *record_.mutable_run_began() = Now();
  }
  Happened(v1::VmEvent::FAILED, v1::Vm::FAILED,
           absl::StrCat("could not be started again: ", status.error_message()));
}

void ManagedVm::StopAsked() {
  absl::MutexLock recording(&recording_);
  StoreChange change;
  {
    absl::MutexLock lock(&mutex_);
    v1::Vm& vm = *record_.mutable_vm();
    const bool pending = vm.has_next_start_time();
    if (!pending && !record_.has_run_began()) return;
    record_.set_stop_asked(record_.has_run_began());
    if (vm.spec().restart().when() <= v1::RestartPolicy::NEVER) return;
    if (pending) {
      vm.clear_next_start_time();
      change.events.push_back(EventLocked(v1::VmEvent::RESTART_GIVEN_UP, "stopped on request"));
      vm.set_state_reason("stopped on request, before it was started again");
      ++revision_;
    }
    change.put.push_back(record_);
  }
  around_.journal.Note(std::move(change));
}

// ---- Moves ----

grpc::Status ManagedVm::Move(const worker::v1::MoveRequest& request, absl::Time until,
                             v1::StopVmResponse::Outcome* outcome) {
  if (moving_.exchange(true)) {
    return Error(grpc::ABORTED, "MOVE_UNDER_WAY",
                 "another move of this VM is under way; try again when it is done", {{"vm", id_}});
  }
  absl::Cleanup done = [this] { moving_ = false; };
  {
    absl::MutexLock lock(&mutex_);
    by_request_ = true;
  }
  if (request.kind() == worker::v1::MoveRequest::STOP) StopAsked();
  grpc::Status status = MoveHeld(request, until, outcome);
  absl::MutexLock lock(&mutex_);
  by_request_ = false;
  return status;
}

grpc::Status ManagedVm::MoveHeld(const worker::v1::MoveRequest& request, absl::Time until,
                                 v1::StopVmResponse::Outcome* outcome) {
  if (auto status = CheckMove(request.kind(), state()); !status.ok()) return status;
  bool stopping = request.kind() == worker::v1::MoveRequest::STOP;
  if (stopping && Over(state())) {
    *outcome = v1::StopVmResponse::ALREADY_STOPPED;
    return grpc::Status::OK;
  }
  if (auto status = EnsureWorker(until); !status.ok()) return status;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = Worker(&worker); !status.ok()) return status;
  WorkerContext context(kWorkerMove + GraceOf(request), until);
  worker::v1::MoveResponse response;
  grpc::Status moved = worker->stub().Move(&context, request, &response);
  if (!moved.ok()) return FromWorker(moved, id_);
  *outcome = response.outcome();
  // The event of the move comes by the watch; whoever asked shall find it there, the state new, and
  // both kept.
  auto caught_up = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !worker_ || events_kept_ >= response.status().last_event();
  };
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&caught_up), kWorkerStatus);
  return grpc::Status::OK;
}

grpc::Status ManagedVm::NoWorkerLocked() const {
  const std::string state = StateWord(record_.vm().state());
  if (stranger_) {
    return Error(grpc::FAILED_PRECONDITION, "WORKER_OF_ANOTHER_BUILD",
                 absl::StrCat("VM ", id_, ": ", stranger_reason_), {{"vm", id_}});
  }
  return Error(grpc::FAILED_PRECONDITION, "VM_WRONG_STATE",
               absl::StrCat("VM ", id_, " is ", state, " and has no worker; start it first"),
               {{"vm", id_}, {"current", state}, {"allowed", "CREATED,RUNNING,PAUSED"}});
}

grpc::Status ManagedVm::Worker(std::shared_ptr<WorkerProcess>* worker) {
  absl::MutexLock lock(&mutex_);
  *worker = worker_;
  return worker_ ? grpc::Status::OK : NoWorkerLocked();
}

void ManagedVm::Retire(bool leave) {
  retiring_ = true;
  std::shared_ptr<WorkerProcess> worker;
  bool active;
  {
    absl::MutexLock lock(&mutex_);
    worker = worker_ ? worker_ : stranger_;
    active = record_.vm().state() == v1::Vm::RUNNING || record_.vm().state() == v1::Vm::PAUSED;
    record_.set_stop_asked(!leave);
  }
  if (worker && leave) {
    worker->Leave();
    absl::MutexLock lock(&mutex_);
    // A worker whose guest is quiet would keep the watcher waiting, and the daemon from its end.
    if (watch_) watch_->TryCancel();
    worker_ = stranger_ = nullptr;
  } else if (worker) {
    worker->Kill(SIGTERM);
    if (!worker->AwaitEnd(kEndTimeout)) worker->Kill(SIGKILL);
    Bury(*worker);
    bool known;
    {
      absl::MutexLock recording(&recording_);
      known = !forgotten_;
    }
    if (active && known)
      Happened(v1::VmEvent::STOPPED, v1::Vm::STOPPED, "stopped with the daemon (--on-exit stop)");
  }
  if (tally_) tally_->Close();
}

v1::Vm ManagedVm::Known() const {
  absl::MutexLock lock(&mutex_);
  v1::Vm vm = record_.vm();
  vm.clear_failure_report();  // it is long, and lists are too
  vm.set_etag(absl::StrCat(vm.uid(), "-", revision_));
  return vm;
}

std::vector<v1::Vm> ManagedVm::Snapshots(const std::vector<ManagedVm*>& vms) {
  std::vector<v1::Vm> snapshots(vms.size());
  absl::BlockingCounter open(static_cast<int>(vms.size()));
  for (size_t i = 0; i < vms.size(); ++i) {
    vms[i]->SnapshotThen([&open, &snapshot = snapshots[i]](v1::Vm vm) {
      snapshot = std::move(vm);
      open.DecrementCount();
    });
  }
  open.Wait();
  return snapshots;
}

void ManagedVm::SnapshotThen(std::function<void(v1::Vm)> done) {
  struct Question {
    v1::Vm vm;
    std::shared_ptr<WorkerProcess> worker;
    WorkerContext context{kWorkerStatus};
    google::protobuf::Empty nothing;
    worker::v1::Status answer;
  };
  auto question = std::make_shared<Question>();
  question->vm = Known();
  const v1::Vm::State state = question->vm.state();
  const bool ran = state == v1::Vm::RUNNING || state == v1::Vm::PAUSED || Over(state);
  if (!ran || !Worker(&question->worker).ok()) return done(std::move(question->vm));
  question->worker->stub().async()->GetStatus(
      &question->context, &question->nothing, &question->answer,
      [question, done = std::move(done)](const grpc::Status& status) {
        if (status.ok()) {
          question->vm.set_instructions_retired(question->answer.instructions_retired());
          question->vm.set_symbols(question->answer.symbols());
        }
        done(std::move(question->vm));
      });
}

absl::StatusOr<std::shared_ptr<const hypercall::StatsReader>> ManagedVm::Stats() {
  struct stat file {};
  bool there = stat(stats_path().c_str(), &file) == 0;
  absl::MutexLock lock(&stats_mutex_);
  std::pair<uint64_t, uint64_t> identity{file.st_dev, file.st_ino};
  if (there && stats_ && identity == stats_file_) return stats_;
  auto opened = hypercall::StatsReader::Open(stats_path());
  if (!opened.ok()) return opened.status();
  stats_ = *std::move(opened);
  stats_file_ = identity;
  return stats_;
}

std::shared_ptr<const hypercall::StatsReader> ManagedVm::StatsOrNull() {
  auto stats = Stats();
  return stats.ok() ? *std::move(stats) : nullptr;
}

void ManagedVm::Symbolize(absl::Time until) {
  std::shared_ptr<WorkerProcess> worker;
  if (!Worker(&worker).ok()) return;
  WorkerContext context(kWorkerAnswer, until);
  google::protobuf::Empty nothing;
  worker->stub().Symbolize(&context, {}, &nothing);
}

void ManagedVm::SymbolizeThen(std::function<void()> done) {
  struct Question {
    std::shared_ptr<WorkerProcess> worker;
    WorkerContext context{kWorkerAnswer};
    google::protobuf::Empty nothing, answer;
  };
  auto question = std::make_shared<Question>();
  if (!Worker(&question->worker).ok()) return done();
  question->worker->stub().async()->Symbolize(
      &question->context, &question->nothing, &question->answer,
      [question, done = std::move(done)](const grpc::Status&) { done(); });
}

grpc::Status ManagedVm::ResetCounters(const worker::v1::SiteRequest& request, absl::Time until) {
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = Worker(&worker); !status.ok()) return status;
  grpc::Status status;
  auto reset = [&] {
    WorkerContext context(kWorkerAnswer, until);
    google::protobuf::Empty nothing;
    status = worker->stub().ResetCounters(&context, request, &nothing);
    return status.ok();
  };
  if (tally_) {
    std::optional<uint64_t> gpa;
    if (request.has_gpa()) gpa = request.gpa();
    tally_->AroundReset(gpa, reset);
  } else {
    reset();
  }
  return status;
}

// ---- Tracing ----

void ManagedVm::AddTracer(Told told) {
  {
    absl::MutexLock lock(&tracing_mutex_);
    ++tracers_;
    // Each has it told, as the worker may be another than the one that was told before.
    tell_again_ = true;
    to_be_told_.push_back(std::move(told));
  }
  TellTracing();
}

void ManagedVm::RemoveTracer() {
  {
    absl::MutexLock lock(&tracing_mutex_);
    if (--tracers_ > 0) return;
    tell_again_ = true;
  }
  TellTracing();
}

// A new worker knows nothing of those who followed the one before.
grpc::Status ManagedVm::TraceAgain() {
  auto answer = std::make_shared<std::promise<grpc::Status>>();
  {
    absl::MutexLock lock(&tracing_mutex_);
    if (tracers_ == 0) return grpc::Status::OK;
    tell_again_ = true;
    to_be_told_.emplace_back([answer](const grpc::Status& status) { answer->set_value(status); });
  }
  TellTracing();
  return answer->get_future().get();
}

void ManagedVm::TellTracing() {
  struct Telling {
    std::shared_ptr<WorkerProcess> worker;
    WorkerContext context{kWorkerStatus};
    worker::v1::SetTracingRequest request;
    google::protobuf::Empty response;
    std::vector<Told> told;
  };
  auto telling = std::make_shared<Telling>();
  {
    absl::MutexLock lock(&tracing_mutex_);
    if (telling_ || !std::exchange(tell_again_, false)) return;
    telling_ = true;
    telling->request.set_on(tracers_ > 0);
    telling->told = std::exchange(to_be_told_, {});
  }
  // Without a worker nothing runs that could be recorded.
  if (!Worker(&telling->worker).ok()) return TracingTold(telling->told, grpc::Status::OK);
  telling->worker->stub().async()->SetTracing(
      &telling->context, &telling->request, &telling->response,
      [telling, weak = weak_from_this()](const grpc::Status& status) {
        if (auto vm = weak.lock()) vm->TracingTold(telling->told, FromWorker(status, vm->id()));
      });
}

void ManagedVm::TracingTold(const std::vector<Told>& told, const grpc::Status& status) {
  {
    absl::MutexLock lock(&tracing_mutex_);
    telling_ = false;
  }
  for (const Told& one : told) one(status);
  TellTracing();
}

}  // namespace trapline::daemon

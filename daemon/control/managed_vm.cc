// SPDX-License-Identifier: Apache-2.0
// The worker's state is the truth; what is kept here follows its watch stream. A stream that ends
// means that the worker did.
#include "daemon/control/managed_vm.h"

#include <signal.h>
#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "daemon/common/convert.h"
#include "daemon/common/errors.h"
#include "daemon/common/logging.h"

namespace trapline::daemon {
namespace {

constexpr auto kStatusTimeout = std::chrono::seconds(2), kSymbolsTimeout = std::chrono::seconds(10);

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

bool Over(v1::Vm::State state) { return state == v1::Vm::STOPPED || state == v1::Vm::FAILED; }

}  // namespace

ManagedVm::ManagedVm(v1::Vm definition, WorkerOptions options, const HostProbe& host, EventHub& hub,
                     Activity& activity, CallTally* tally)
    : id_(definition.name().substr(definition.name().find('/') + 1)),
      options_(std::move(options)),
      host_(host),
      hub_(hub),
      activity_(activity),
      tally_(tally ? tally->Open(id_) : nullptr),
      vm_(std::move(definition)) {}

ManagedVm::~ManagedVm() {
  retiring_ = true;
  {
    absl::MutexLock lock(&mutex_);
    if (worker_) worker_->Kill(SIGKILL);
  }
  JoinWatcher();
  if (tally_) tally_->Close();
}

void ManagedVm::JoinWatcher() {
  if (watcher_.joinable()) watcher_.join();
}

std::string ManagedVm::failure_report() const {
  absl::MutexLock lock(&mutex_);
  return failure_report_;
}

v1::Vm::State ManagedVm::state() const {
  absl::MutexLock lock(&mutex_);
  return vm_.state();
}

std::pair<v1::Engine, v1::Vm::State> ManagedVm::EngineAndState() const {
  absl::MutexLock lock(&mutex_);
  return {vm_.engine(), vm_.state()};
}

grpc::Status ManagedVm::EnsureWorker() {
  {
    absl::MutexLock lock(&mutex_);
    if (worker_) return grpc::Status::OK;
  }
  JoinWatcher();
  auto started = WorkerProcess::Start(options_);
  if (!started.ok()) {
    ++activity_.workers_not_started;
    return FromCore(started.status());
  }
  std::shared_ptr<WorkerProcess> worker = *std::move(started);
  worker::v1::CreateRequest request;
  {
    absl::MutexLock lock(&mutex_);
    request.set_name(id_);
    *request.mutable_spec() = vm_.spec();
  }
  request.set_stats_path(stats_path());
  *request.mutable_host_probe() = ToProto(host_.Get());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  worker::v1::Status response;
  grpc::Status made = worker->stub().Create(&context, request, &response);
  if (!made.ok()) {
    if (!made.error_details().empty()) return made;
    ++activity_.workers_not_started;
    worker->Kill(SIGKILL);  // unless it is dead: then what it died of stays
    return Error(grpc::UNAVAILABLE, "WORKER_LOST",
                 absl::StrCat("the worker of VM ", id_, " was ", worker->Reap(),
                              " while it loaded the images; the daemon's log has its last words"),
                 {{"vm", id_}});
  }
  ++activity_.workers_started;
  if (tally_) tally_->Follow(StatsOrNull(), response.engine(), true);
  {
    absl::MutexLock lock(&mutex_);
    worker_ = worker;
    vm_.set_engine(response.engine());
    vm_.set_engine_reason(response.engine_reason());
    BeginWatchLocked(worker);
  }
  return TraceAgain();
}

grpc::Status ManagedVm::Make() {
  if (auto status = EnsureWorker(); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  vm_.set_state(v1::Vm::CREATED);
  vm_.set_state_reason("created");
  return grpc::Status::OK;
}

void ManagedVm::Announce() { Publish(v1::Vm::CREATED, v1::VmEvent::CREATED, "created", 0); }

void ManagedVm::Adopt() {
  auto adopted = WorkerProcess::Adopt(options_.directory);
  absl::MutexLock lock(&mutex_);
  if (!adopted.ok()) {
    vm_.set_state(v1::Vm::STOPPED);
    vm_.set_state_reason("the daemon was started anew and found no worker");
    if (tally_) tally_->Follow(StatsOrNull(), v1::ENGINE_UNSPECIFIED, false);
    return;
  }
  std::shared_ptr<WorkerProcess> worker = *std::move(adopted);
  grpc::ClientContext context;
  worker::v1::Status status;
  worker->stub().GetStatus(&context, {}, &status);
  // Those for whom the earlier daemon had calls recorded are gone.
  grpc::ClientContext tracing;
  google::protobuf::Empty ignored;
  worker->stub().SetTracing(&tracing, {}, &ignored);
  vm_.set_state(status.state());
  vm_.set_state_reason(status.reason());
  vm_.set_engine(status.engine());
  vm_.set_engine_reason(status.engine_reason());
  if (status.has_exit_status()) vm_.set_exit_status(status.exit_status());
  failure_report_ = status.failure_report();
  worker_ = worker;
  ++activity_.workers_adopted;
  if (tally_) tally_->Follow(StatsOrNull(), status.engine(), false);
  BeginWatchLocked(worker);
}

void ManagedVm::SetState(v1::Vm::State state, v1::VmEvent::Kind kind, const std::string& reason,
                         int exit_status) {
  {
    absl::MutexLock lock(&mutex_);
    vm_.set_state(state);
    vm_.set_state_reason(reason);
    if (kind == v1::VmEvent::GUEST_EXIT) vm_.set_exit_status(exit_status);
    if (kind == v1::VmEvent::STARTED) {
      vm_.clear_exit_status();
      failure_report_.clear();
    }
    ++revision_;
  }
  Publish(state, kind, reason, exit_status);
}

void ManagedVm::Publish(v1::Vm::State state, v1::VmEvent::Kind kind, const std::string& reason,
                        int exit_status) {
  v1::VmEvent event;
  event.set_vm("vms/" + id_);
  event.set_kind(kind);
  event.set_state(state);
  event.set_reason(reason);
  event.set_exit_status(exit_status);
  Log(spdlog::level::info, "vm event",
      {{"vm", id_},
       {"kind", v1::VmEvent::Kind_Name(kind)},
       {"state", StateWord(state)},
       {"reason", reason}});
  hub_.Publish(std::move(event));
}

void ManagedVm::TakeFailureReport(WorkerProcess& worker) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kStatusTimeout);
  worker::v1::Status status;
  if (!worker.stub().GetStatus(&context, {}, &status).ok()) return;
  absl::MutexLock lock(&mutex_);
  failure_report_ = status.failure_report();
}

void ManagedVm::BeginWatchLocked(const std::shared_ptr<WorkerProcess>& worker) {
  watch_ = std::make_shared<grpc::ClientContext>();
  watch_->set_wait_for_ready(true);
  watcher_ = std::thread([this, worker, context = watch_] { Watch(worker, *context); });
}

void ManagedVm::Watch(const std::shared_ptr<WorkerProcess>& worker, grpc::ClientContext& context) {
  auto stream = worker->stub().Watch(&context, {});
  worker::v1::Happening happening;
  while (stream->Read(&happening)) {
    if (happening.has_console()) console_.Append(happening.console());
    if (happening.has_event()) {
      const v1::VmEvent& event = happening.event();
      // Before anybody hears of the failure, and while there is a worker to ask.
      if (event.state() == v1::Vm::FAILED) TakeFailureReport(*worker);
      SetState(event.state(), event.kind(), event.reason(), event.exit_status());
      // Who looks into it later may find no worker that could tell the symbols.
      if (event.state() == v1::Vm::FAILED) Symbolize();
    }
  }
  stream->Finish();
  if (retiring_) return;
  worker->Kill(SIGKILL);  // whatever cut the stream, what is left of the worker is of no use
  std::string how = worker->Reap();
  ++activity_.workers_lost;
  std::string reason = absl::StrCat("the worker was lost: ", how);
  {
    absl::MutexLock lock(&mutex_);
    worker_ = nullptr;
    // Why the VM failed in the first place is what matters.
    if (vm_.state() == v1::Vm::FAILED) reason = absl::StrCat(vm_.state_reason(), "; then ", reason);
  }
  SetState(v1::Vm::FAILED, v1::VmEvent::FAILED, reason, 0);
}

grpc::Status ManagedVm::Move(const worker::v1::MoveRequest& request,
                             v1::StopVmResponse::Outcome* outcome) {
  if (moving_.exchange(true)) {
    return Error(grpc::ABORTED, "MOVE_UNDER_WAY",
                 "another move of this VM is under way; try again when it is done", {{"vm", id_}});
  }
  struct Done {
    std::atomic<bool>& flag;
    ~Done() { flag = false; }
  } done{moving_};
  if (auto status = CheckMove(request.kind(), state()); !status.ok()) return status;
  bool stopping = request.kind() == worker::v1::MoveRequest::STOP;
  if (stopping && Over(state())) {
    *outcome = v1::StopVmResponse::ALREADY_STOPPED;
    return grpc::Status::OK;
  }
  if (auto status = EnsureWorker(); !status.ok()) return status;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = Worker(&worker); !status.ok()) return status;
  uint64_t before;
  {
    absl::MutexLock lock(&mutex_);
    before = revision_;
  }
  grpc::ClientContext context;
  worker::v1::MoveResponse response;
  grpc::Status moved = worker->stub().Move(&context, request, &response);
  if (!moved.ok()) return FromWorker(moved, id_);
  *outcome = response.outcome();
  // The event of the move comes by the watch; whoever asked shall find it there and the state new.
  // A guest may be over by then.
  auto caught_up = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bool there = vm_.state() == response.status().state() || Over(vm_.state());
    return !worker_ || (revision_ > before && there);
  };
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&caught_up), absl::Seconds(2));
  return grpc::Status::OK;
}

grpc::Status ManagedVm::Worker(std::shared_ptr<WorkerProcess>* worker) {
  absl::MutexLock lock(&mutex_);
  *worker = worker_;
  if (worker_) return grpc::Status::OK;
  return Error(
      grpc::FAILED_PRECONDITION, "VM_WRONG_STATE",
      absl::StrCat("VM ", id_, " is ", StateWord(vm_.state()),
                   " and has no worker; start it first"),
      {{"vm", id_}, {"current", StateWord(vm_.state())}, {"allowed", "CREATED,RUNNING,PAUSED"}});
}

void ManagedVm::Retire(bool leave) {
  retiring_ = true;
  std::shared_ptr<WorkerProcess> worker;
  {
    absl::MutexLock lock(&mutex_);
    worker = worker_;
  }
  if (worker && leave) {
    worker->Leave();
    absl::MutexLock lock(&mutex_);
    // A worker whose guest is quiet would keep the watcher waiting, and the daemon from its end.
    watch_->TryCancel();
    worker_ = nullptr;
  } else if (worker) {
    worker->Kill(SIGTERM);
    worker->Reap();
  }
  if (tally_) tally_->Close();
}

v1::Vm ManagedVm::Known() const {
  absl::MutexLock lock(&mutex_);
  v1::Vm vm = vm_;
  vm.set_etag(absl::StrCat(vm.uid(), "-", revision_));
  return vm;
}

std::vector<v1::Vm> ManagedVm::Snapshots(const std::vector<ManagedVm*>& vms) {
  struct Question {
    std::shared_ptr<WorkerProcess> worker;
    grpc::ClientContext context;
    worker::v1::Status answer;
    bool answered = false;
  };
  static const google::protobuf::Empty nothing;
  std::vector<v1::Vm> snapshots;
  snapshots.reserve(vms.size());
  std::vector<std::unique_ptr<Question>> questions;
  absl::BlockingCounter open(static_cast<int>(vms.size()));
  auto deadline = std::chrono::system_clock::now() + kStatusTimeout;
  for (ManagedVm* vm : vms) {
    v1::Vm::State state = snapshots.emplace_back(vm->Known()).state();
    auto* question = questions.emplace_back(std::make_unique<Question>()).get();
    bool ran = state == v1::Vm::RUNNING || state == v1::Vm::PAUSED || Over(state);
    if (!ran || !vm->Worker(&question->worker).ok()) {
      open.DecrementCount();
      continue;
    }
    question->context.set_deadline(deadline);
    question->worker->stub().async()->GetStatus(&question->context, &nothing, &question->answer,
                                                [question, &open](const grpc::Status& status) {
                                                  question->answered = status.ok();
                                                  open.DecrementCount();
                                                });
  }
  open.Wait();
  for (size_t i = 0; i < vms.size(); ++i) {
    if (!questions[i]->answered) continue;
    snapshots[i].set_instructions_retired(questions[i]->answer.instructions_retired());
    snapshots[i].set_symbols(questions[i]->answer.symbols());
  }
  return snapshots;
}

bool ManagedVm::AwaitState(uint32_t states, absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  auto reached = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return ((states >> vm_.state()) & 1) != 0;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&reached), timeout);
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

void ManagedVm::Symbolize() {
  std::shared_ptr<WorkerProcess> worker;
  if (!Worker(&worker).ok()) return;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kSymbolsTimeout);
  google::protobuf::Empty nothing;
  worker->stub().Symbolize(&context, {}, &nothing);
}

void ManagedVm::SymbolizeThen(std::function<void()> done) {
  struct Question {
    std::shared_ptr<WorkerProcess> worker;
    grpc::ClientContext context;
    google::protobuf::Empty nothing, answer;
  };
  auto question = std::make_shared<Question>();
  if (!Worker(&question->worker).ok()) return done();
  question->context.set_deadline(std::chrono::system_clock::now() + kSymbolsTimeout);
  question->worker->stub().async()->Symbolize(
      &question->context, &question->nothing, &question->answer,
      [question, done = std::move(done)](const grpc::Status&) { done(); });
}

grpc::Status ManagedVm::ResetCounters(const worker::v1::SiteRequest& request) {
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = Worker(&worker); !status.ok()) return status;
  grpc::Status status;
  auto reset = [&] {
    grpc::ClientContext context;
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

grpc::Status ManagedVm::SetTracing(bool on) {
  std::shared_ptr<WorkerProcess> worker;
  {
    absl::MutexLock lock(&mutex_);
    worker = worker_;
  }
  if (!worker) return grpc::Status::OK;  // nothing runs that could be recorded
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kStatusTimeout);
  worker::v1::SetTracingRequest request;
  request.set_on(on);
  google::protobuf::Empty response;
  return FromWorker(worker->stub().SetTracing(&context, request, &response), id_);
}

// A new worker knows nothing of those who followed the one before.
grpc::Status ManagedVm::TraceAgain() {
  absl::MutexLock lock(&tracing_mutex_);
  return tracers_ > 0 ? SetTracing(true) : grpc::Status::OK;
}

grpc::Status ManagedVm::AddTracer() {
  absl::MutexLock lock(&tracing_mutex_);
  // Each tells it, as the worker may be another than the one that was told before.
  if (auto status = SetTracing(true); !status.ok()) return status;
  ++tracers_;
  return grpc::Status::OK;
}

void ManagedVm::RemoveTracer() {
  absl::MutexLock lock(&tracing_mutex_);
  if (--tracers_ == 0) SetTracing(false);
}

}  // namespace trapline::daemon

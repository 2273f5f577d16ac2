// SPDX-License-Identifier: Apache-2.0
// Each call, handed on to the VM.
#include "daemon/vmm/worker_service.h"

#include <unistd.h>

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "daemon/common/convert.h"
#include "daemon/common/errors.h"
#include "daemon/common/worker_protocol.h"

namespace trapline::daemon {
namespace {

// How long a watch whose client is gone may hold its thread when nothing happens.
constexpr absl::Duration kWatchPoll = absl::Seconds(10);

v1::Vm::State ToProto(vm::State state) {
  return static_cast<v1::Vm::State>(static_cast<int>(state) + 1);
}

v1::VmEvent::Kind ToProto(vm::EventKind kind) {
  switch (kind) {
    case vm::EventKind::kStarted:
      return v1::VmEvent::STARTED;
    case vm::EventKind::kPaused:
      return v1::VmEvent::PAUSED;
    case vm::EventKind::kResumed:
      return v1::VmEvent::RESUMED;
    case vm::EventKind::kReset:
      return v1::VmEvent::RESET;
    case vm::EventKind::kStopped:
      return v1::VmEvent::STOPPED;
    case vm::EventKind::kFailed:
      return v1::VmEvent::FAILED;
    case vm::EventKind::kGuestReset:
      return v1::VmEvent::GUEST_RESET;
    case vm::EventKind::kGuestPowerOff:
      return v1::VmEvent::GUEST_POWER_OFF;
    case vm::EventKind::kGuestExit:
      return v1::VmEvent::GUEST_EXIT;
    case vm::EventKind::kTripleFault:
      return v1::VmEvent::TRIPLE_FAULT;
  }
  return v1::VmEvent::KIND_UNSPECIFIED;
}

vm::EngineKind FromProto(v1::Engine engine) {
  switch (engine) {
    case v1::ENGINE_SOFT:
      return vm::EngineKind::kSoft;
    case v1::ENGINE_DIRECT:
      return vm::EngineKind::kDirect;
    case v1::ENGINE_KVM:
      return vm::EngineKind::kKvm;
    default:
      return vm::EngineKind::kAuto;
  }
}

v1::Engine ToProto(vm::EngineKind engine) {
  switch (engine) {
    case vm::EngineKind::kAuto:
      break;
    case vm::EngineKind::kSoft:
      return v1::ENGINE_SOFT;
    case vm::EngineKind::kDirect:
      return v1::ENGINE_DIRECT;
    case vm::EngineKind::kKvm:
      return v1::ENGINE_KVM;
  }
  return v1::ENGINE_UNSPECIFIED;
}

// DisassembleResponse::Instruction and SiteCode::Instruction have the same fields.
template <typename Message>
void Fill(const vm::Instruction& instruction, Message* out) {
  out->set_address(instruction.address);
  out->set_bytes(instruction.bytes.data(), instruction.bytes.size());
  out->set_text(instruction.text);
  out->set_symbol(instruction.symbol);
}

// A VM has several threads; std::thread throws where one is not to be had.
absl::StatusOr<std::unique_ptr<vm::Vm>> CreateVm(const vm::VmConfig& config,
                                                 vm::Observer observer) {
  try {
    return vm::Vm::Create(config, std::move(observer));
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no thread for a VM of ", config.vcpus, " vCPUs: ", error.what(),
                     "; the limit on processes (RLIMIT_NPROC, pids cgroup) or memory is reached"));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "no memory for the VM's own structures; the worker's limit (RLIMIT_AS, memory cgroup) is "
        "reached");
  }
}

}  // namespace

WorkerService::WorkerService(Confinement& confinement, OpenedFiles files)
    : life_(absl::Uniform<uint64_t>(absl::BitGen(), 1, ~uint64_t{0})),
      confinement_(confinement),
      files_(std::move(files)) {}

void WorkerService::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
}

grpc::Status WorkerService::Get(vm::Vm** vm) {
  absl::MutexLock lock(&vm_mutex_);
  if (!vm_) return Error(grpc::FAILED_PRECONDITION, "VM_NOT_MADE", "the worker has no VM yet");
  *vm = vm_.get();
  return grpc::Status::OK;
}

void WorkerService::FillStatus(vm::Vm& vm, worker::v1::Status* status) {
  status->set_state(ToProto(vm.state()));
  status->set_reason(vm.state_reason());
  if (vm.exit_status() >= 0) status->set_exit_status(vm.exit_status());
  status->set_engine(ToProto(vm.engine()));
  status->set_engine_reason(vm.engine_reason());
  status->set_instructions_retired(vm.instructions_retired());
  status->set_pid(getpid());
  status->set_symbols(vm.symbols_state());
  status->set_failure_report(vm.failure_report());
  status->set_protocol(kWorkerProtocol);
  status->set_life(life_);
  *status->mutable_confinement() = confined_;
  absl::MutexLock lock(&mutex_);
  status->set_last_event(last_event_);
}

// ---- What happens ----

void WorkerService::Keep(v1::VmEvent event) {
  absl::MutexLock lock(&mutex_);
  event.set_sequence(++last_event_);
  events_.push_back(std::move(event));
  if (events_.size() > kMaxEvents) events_.pop_front();
}

void WorkerService::KeepConsole(std::string_view bytes) {
  absl::MutexLock lock(&mutex_);
  console_.append(bytes);
  console_end_ += bytes.size();
  // Trimmed by halves, so that a byte is moved once on the average.
  if (console_.size() > 2 * kConsoleKept) console_.erase(0, console_.size() - kConsoleKept);
}

// The console comes first: who hears that the VM is over has all that it said.
std::vector<worker::v1::Happening> WorkerService::News(Place* place) {
  std::vector<worker::v1::Happening> news;
  const uint64_t start = console_end_ - console_.size();
  const uint64_t from = std::max(std::min(place->console, console_end_), start);
  if (from < console_end_) news.emplace_back().set_console(console_.substr(from - start));
  place->console = console_end_;
  for (const v1::VmEvent& event : events_) {
    if (event.sequence() > place->event) *news.emplace_back().mutable_event() = event;
  }
  place->event = last_event_;
  return news;
}

grpc::Status WorkerService::Watch(grpc::ServerContext* context,
                                  const worker::v1::WatchRequest* request,
                                  grpc::ServerWriter<worker::v1::Happening>* writer) {
  Place place{request->after_event(), request->console_from()};
  bool caught_up = false;
  for (;;) {
    std::vector<worker::v1::Happening> news;
    {
      absl::MutexLock lock(&mutex_);
      auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return closed_ || last_event_ > place.event || console_end_ > place.console;
      };
      if (caught_up) mutex_.AwaitWithTimeout(absl::Condition(&ready), kWatchPoll);
      news = News(&place);
      if (closed_ && news.empty()) return grpc::Status::OK;
    }
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
    if (!std::exchange(caught_up, true)) {
      GetStatus(nullptr, nullptr, news.emplace_back().mutable_caught_up());
    }
    for (const auto& happening : news) {
      if (!writer->Write(happening)) return grpc::Status::CANCELLED;
    }
  }
}

// ---- Life ----

grpc::Status WorkerService::Create(grpc::ServerContext*, const worker::v1::CreateRequest* request,
                                   worker::v1::Status* response) {
  absl::MutexLock lock(&vm_mutex_);
  if (vm_) return Error(grpc::ALREADY_EXISTS, "VM_EXISTS", "the worker has its VM");
  vm::VmConfig config;
  config.name = request->name();
  const v1::VmSpec& spec = request->spec();
  if (spec.vcpus() != 0) config.vcpus = spec.vcpus();
  if (spec.memory_bytes() != 0) config.memory_bytes = spec.memory_bytes();
  config.kernel_path = spec.kernel_path();
  config.initrd_path = spec.initrd_path();
  config.symbols_path = spec.symbols_path();
  config.command_line = spec.command_line();
  config.engine = FromProto(spec.engine());
  config.stats_path = request->stats_path();
  if (request->has_host_probe()) config.host_probe = daemon::FromProto(request->host_probe());
  auto policy = daemon::FromProto(spec.policy());
  if (!policy) return InvalidField("vm.spec.policy.limit", "must be EMULATE, INTERRUPT or LINKED");
  config.policy = *policy;
  for (const auto& [gpa, wanted] : request->site_policies()) {
    if (auto site_policy = daemon::FromProto(wanted)) config.site_policies[gpa] = *site_policy;
  }

  vm::Observer observer;
  observer.on_event = [this](const vm::Event& event) {
    v1::VmEvent out;
    *out.mutable_time() = Now();
    out.set_kind(ToProto(event.kind));
    out.set_state(ToProto(event.state));
    out.set_reason(event.reason);
    out.set_exit_status(event.exit_status);
    Keep(std::move(out));
  };
  observer.on_console_output = [this](std::string_view bytes) { KeepConsole(bytes); };
  observer.on_vcpu_thread = [this] { confinement_.EnterVcpu(); };
  config.open_file = [this](const std::string& path)
                         ABSL_NO_THREAD_SAFETY_ANALYSIS { return files_.Take(path); };
  auto vm = CreateVm(config, std::move(observer));
  if (!vm.ok()) return FromCore(vm.status());
  vm_ = *std::move(vm);
  confinement_.Seal(vm_->engine() == vm::EngineKind::kDirect);
  for (const Measure& measure : confinement_.measures()) *confined_.add_measures() = measure;
  for (const Measure& measure : request->measures()) *confined_.add_measures() = measure;
  FillStatus(*vm_, response);
  return grpc::Status::OK;
}

grpc::Status WorkerService::GetStatus(grpc::ServerContext*, const google::protobuf::Empty*,
                                      worker::v1::Status* response) {
  vm::Vm* vm;
  if (Get(&vm).ok()) {
    FillStatus(*vm, response);
  } else {
    response->set_pid(getpid());
    response->set_protocol(kWorkerProtocol);
    response->set_life(life_);
  }
  return grpc::Status::OK;
}

grpc::Status WorkerService::Move(grpc::ServerContext*, const worker::v1::MoveRequest* request,
                                 worker::v1::MoveResponse* response) {
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  absl::Status moved;
  switch (request->kind()) {
    case worker::v1::MoveRequest::START:
      moved = vm->Start();
      break;
    case worker::v1::MoveRequest::PAUSE:
      moved = vm->Pause();
      break;
    case worker::v1::MoveRequest::RESUME:
      moved = vm->Resume();
      break;
    case worker::v1::MoveRequest::RESET:
      moved = vm->Reset();
      break;
    case worker::v1::MoveRequest::STOP: {
      auto mode = request->mode() == v1::StopVmRequest::FORCED ? vm::StopMode::kForced
                                                               : vm::StopMode::kGraceful;
      auto grace = absl::Seconds(request->grace_period().seconds()) +
                   absl::Nanoseconds(request->grace_period().nanos());
      auto outcome = vm->Stop(mode, grace);
      moved = outcome.status();
      if (outcome.ok())
        response->set_outcome(
            static_cast<v1::StopVmResponse::Outcome>(static_cast<int>(*outcome) + 1));
      break;
    }
    default:
      moved = absl::InvalidArgumentError("no such move");
  }
  if (!moved.ok()) return FromCore(moved);
  FillStatus(*vm, response->mutable_status());
  return grpc::Status::OK;
}

// ---- Looking in ----

grpc::Status WorkerService::WriteConsole(grpc::ServerContext*,
                                         const worker::v1::WriteConsoleRequest* request,
                                         google::protobuf::Empty*) {
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  return FromCore(vm->WriteConsole(request->bytes()));
}

grpc::Status WorkerService::ReadRegisters(grpc::ServerContext*,
                                          const v1::ReadRegistersRequest* request,
                                          v1::Registers* response) {
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  auto registers = vm->ReadRegisters(request->vcpu());
  if (!registers.ok()) return FromCore(registers.status());
  *response = daemon::ToProto(*registers);
  response->set_symbol(vm->Symbolize(registers->rip));
  return grpc::Status::OK;
}

grpc::Status WorkerService::ReadMemory(grpc::ServerContext*, const v1::ReadMemoryRequest* request,
                                       v1::ReadMemoryResponse* response) {
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  auto bytes = request->physical()
                   ? vm->ReadPhysical(request->address(), request->size())
                   : vm->ReadLinear(request->vcpu(), request->address(), request->size());
  if (!bytes.ok()) return FromCore(bytes.status());
  response->set_address(request->address());
  response->set_data(bytes->data(), bytes->size());
  return grpc::Status::OK;
}

grpc::Status WorkerService::Disassemble(grpc::ServerContext*, const v1::DisassembleRequest* request,
                                        v1::DisassembleResponse* response) {
  constexpr uint32_t kDefaultCount = 16;
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  uint64_t address = request->address();
  if (!request->has_address()) {
    auto registers = vm->ReadRegisters(request->vcpu());
    if (!registers.ok()) return FromCore(registers.status());
    address = registers->segment[x86::kCs].base + registers->rip;
  }
  auto instructions = vm->Disassemble(request->vcpu(), address,
                                      request->count() ? request->count() : kDefaultCount);
  if (!instructions.ok()) return FromCore(instructions.status());
  for (const vm::Instruction& instruction : *instructions)
    Fill(instruction, response->add_instructions());
  return grpc::Status::OK;
}

// ---- Sites ----

grpc::Status WorkerService::DisassembleSite(grpc::ServerContext*,
                                            const worker::v1::DisassembleSiteRequest* request,
                                            v1::SiteCode* response) {
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  auto code = vm->DisassembleSite(request->gpa(), request->before(), request->after());
  if (!code.ok()) return FromCore(code.status());
  for (const vm::SiteLine& line : code->lines) {
    auto* out = response->add_lines();
    out->set_address(line.address);
    if (line.original) Fill(*line.original, out->mutable_original());
    if (line.current) Fill(*line.current, out->mutable_current());
    out->set_site(line.site);
  }
  for (const vm::SiteTrampoline& trampoline : code->trampolines) {
    auto* out = response->add_trampolines();
    out->set_address(trampoline.address);
    out->set_name(trampoline.name);
    for (const vm::Instruction& instruction : trampoline.instructions)
      Fill(instruction, out->add_instructions());
  }
  return grpc::Status::OK;
}

grpc::Status WorkerService::Symbolize(grpc::ServerContext*, const google::protobuf::Empty*,
                                      google::protobuf::Empty*) {
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  vm->SymbolizeSites();
  return grpc::Status::OK;
}

grpc::Status WorkerService::GetPolicy(grpc::ServerContext*, const google::protobuf::Empty*,
                                      v1::Policy* response) {
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  *response = daemon::ToProto(vm->hypercalls().policy());
  return grpc::Status::OK;
}

grpc::Status WorkerService::SetPolicy(grpc::ServerContext*,
                                      const worker::v1::SetPolicyRequest* request,
                                      google::protobuf::Empty*) {
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  std::optional<hypercall::Policy> policy;
  if (request->has_policy()) {
    policy = daemon::FromProto(request->policy());
    if (!policy) return InvalidField("policy.limit", "must be EMULATE, INTERRUPT or LINKED");
  }
  if (request->has_gpa()) return FromCore(vm->hypercalls().SetSitePolicy(request->gpa(), policy));
  if (!policy) return InvalidField("policy", "must be set for a VM");
  return FromCore(vm->hypercalls().SetPolicy(*policy));
}

grpc::Status WorkerService::Revert(grpc::ServerContext*, const worker::v1::SiteRequest* request,
                                   google::protobuf::Empty*) {
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  return FromCore(vm->hypercalls().Revert(request->gpa()));
}

grpc::Status WorkerService::ResetCounters(grpc::ServerContext*,
                                          const worker::v1::SiteRequest* request,
                                          google::protobuf::Empty*) {
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  return FromCore(vm->hypercalls().ResetCounters(request->has_gpa() ? std::optional(request->gpa())
                                                                    : std::nullopt));
}

grpc::Status WorkerService::SetTracing(grpc::ServerContext*,
                                       const worker::v1::SetTracingRequest* request,
                                       google::protobuf::Empty*) {
  vm::Vm* vm;
  if (auto status = Get(&vm); !status.ok()) return status;
  return FromCore(vm->hypercalls().SetTracing(request->on()));
}

}  // namespace trapline::daemon

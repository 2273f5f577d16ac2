// SPDX-License-Identifier: Apache-2.0
// The Vms service.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "daemon/common/errors.h"
#include "daemon/control/services.h"
#include "daemon/control/worker_context.h"

namespace trapline::daemon {
namespace {

constexpr int kDefaultPage = 50, kMaxPage = 1000;
constexpr int64_t kDefaultGraceSeconds = 10;
constexpr uint64_t kMaxRead = 1 << 20;
constexpr uint32_t kMaxInstructions = 1000;

// "state=RUNNING AND labels.tier=web".
grpc::Status ParseFilter(const std::string& filter,
                         std::vector<std::pair<std::string, std::string>>* terms) {
  if (filter.empty()) return grpc::Status::OK;
  for (absl::string_view term : absl::StrSplit(filter, " AND ")) {
    std::pair<std::string, std::string> parts = absl::StrSplit(term, absl::MaxSplits('=', 1));
    v1::Vm::State state;
    bool known = (parts.first == "state" && v1::Vm::State_Parse(parts.second, &state)) ||
                 parts.first.rfind("labels.", 0) == 0;
    if (!known)
      return InvalidField(
          "filter", absl::StrCat("cannot understand \"", std::string(term),
                                 "\"; state=STATE and labels.KEY=VALUE can be joined by AND"));
    terms->push_back(parts);
  }
  return grpc::Status::OK;
}

bool Matches(const v1::Vm& vm, const std::vector<std::pair<std::string, std::string>>& terms) {
  return std::all_of(terms.begin(), terms.end(), [&](const auto& term) {
    if (term.first == "state") return v1::Vm::State_Name(vm.state()) == term.second;
    auto label = vm.labels().find(term.first.substr(7));
    return label != vm.labels().end() && label->second == term.second;
  });
}

}  // namespace

grpc::Status ShuttingDown() {
  return Error(grpc::UNAVAILABLE, "SHUTTING_DOWN", "the daemon is shutting down");
}

grpc::Status PageSize(int32_t wanted, size_t* size) {
  if (wanted < 0) return InvalidField("page_size", "must not be negative");
  *size = static_cast<size_t>(wanted == 0 ? kDefaultPage : std::min(wanted, kMaxPage));
  return grpc::Status::OK;
}

grpc::Status Paginate(int32_t page_size, const std::string& token, size_t total, Page* page) {
  size_t size = 0;
  uint64_t start = 0;
  if (auto status = PageSize(page_size, &size); !status.ok()) return status;
  if (!token.empty() && !absl::SimpleAtoi(token, &start))
    return InvalidField("page_token", "not a token of this API's");
  page->start = std::min<size_t>(start, total);
  page->end = std::min(page->start + size, total);
  page->next_token = page->end < total ? absl::StrCat(page->end) : "";
  return grpc::Status::OK;
}

// ---- Standard methods ----

grpc::Status VmsService::CreateVm(grpc::ServerContext* context, const v1::CreateVmRequest* request,
                                  v1::Vm* response) {
  v1::CreateVmRequest wanted = *request;
  v1::VmSpec& spec = *wanted.mutable_vm()->mutable_spec();
  const Caller caller = CallerOf(*context->auth_context());
  for (const auto& [field, path] :
       {std::pair{"vm.spec.kernel_path", spec.mutable_kernel_path()},
        std::pair{"vm.spec.initrd_path", spec.mutable_initrd_path()},
        std::pair{"vm.spec.symbols_path", spec.mutable_symbols_path()}}) {
    if (auto status = authorizer_.ConfineImage(caller, field, path); !status.ok()) return status;
  }
  const ImageLinks links =
      authorizer_.ConfinesImages(caller) ? ImageLinks::kNone : ImageLinks::kAny;
  return registry_.Once("CreateVm", request->request_id(), *request, response, [&] {
    std::shared_ptr<ManagedVm> vm;
    grpc::Status status = registry_.Create(wanted, links, &vm, DeadlineOf(*context));
    if (status.ok()) *response = vm->Snapshot();
    return status;
  });
}

grpc::Status VmsService::GetVm(grpc::ServerContext*, const v1::GetVmRequest* request,
                               v1::Vm* response) {
  std::shared_ptr<ManagedVm> vm;
  grpc::Status status = registry_.Find(request->name(), "name", &vm);
  if (!status.ok()) return status;
  *response = vm->Snapshot();
  vm->FillDetails(response);
  return grpc::Status::OK;
}

grpc::Status VmsService::ListVms(grpc::ServerContext*, const v1::ListVmsRequest* request,
                                 v1::ListVmsResponse* response) {
  std::vector<std::pair<std::string, std::string>> terms;
  if (auto status = ParseFilter(request->filter(), &terms); !status.ok()) return status;
  std::vector<std::shared_ptr<ManagedVm>> found;
  for (auto& vm : registry_.All()) {
    if (Matches(vm->Known(), terms)) found.push_back(std::move(vm));
  }
  Page page;
  if (auto status = Paginate(request->page_size(), request->page_token(), found.size(), &page);
      !status.ok())
    return status;
  std::vector<ManagedVm*> shown;
  for (size_t i = page.start; i < page.end; ++i) shown.push_back(found[i].get());
  for (v1::Vm& vm : ManagedVm::Snapshots(shown)) *response->add_vms() = std::move(vm);
  response->set_next_page_token(page.next_token);
  return grpc::Status::OK;
}

grpc::Status VmsService::DeleteVm(grpc::ServerContext*, const v1::DeleteVmRequest* request,
                                  google::protobuf::Empty* response) {
  return registry_.Once("DeleteVm", request->request_id(), *request, response, [&] {
    return registry_.Delete(request->name(), request->force(), request->etag());
  });
}

// ---- Moves ----

template <typename Request>
grpc::Status VmsService::Move(const char* method, worker::v1::MoveRequest::Kind kind,
                              const grpc::ServerContext& context, const Request& request,
                              v1::Vm* response) {
  return registry_.Once(method, request.request_id(), request, response, [&] {
    std::shared_ptr<ManagedVm> vm;
    if (auto status = registry_.Find(request.name(), "name", &vm); !status.ok()) return status;
    worker::v1::MoveRequest move;
    move.set_kind(kind);
    v1::StopVmResponse::Outcome unused;
    grpc::Status status = vm->Move(move, DeadlineOf(context), &unused);
    if (status.ok()) *response = vm->Snapshot();
    return status;
  });
}

grpc::Status VmsService::StartVm(grpc::ServerContext* context, const v1::StartVmRequest* request,
                                 v1::Vm* response) {
  return Move("StartVm", worker::v1::MoveRequest::START, *context, *request, response);
}
grpc::Status VmsService::PauseVm(grpc::ServerContext* context, const v1::PauseVmRequest* request,
                                 v1::Vm* response) {
  return Move("PauseVm", worker::v1::MoveRequest::PAUSE, *context, *request, response);
}
grpc::Status VmsService::ResumeVm(grpc::ServerContext* context, const v1::ResumeVmRequest* request,
                                  v1::Vm* response) {
  return Move("ResumeVm", worker::v1::MoveRequest::RESUME, *context, *request, response);
}
grpc::Status VmsService::ResetVm(grpc::ServerContext* context, const v1::ResetVmRequest* request,
                                 v1::Vm* response) {
  return Move("ResetVm", worker::v1::MoveRequest::RESET, *context, *request, response);
}

grpc::Status VmsService::StopVm(grpc::ServerContext* context, const v1::StopVmRequest* request,
                                v1::StopVmResponse* response) {
  return registry_.Once("StopVm", request->request_id(), *request, response, [&] {
    std::shared_ptr<ManagedVm> vm;
    if (auto status = registry_.Find(request->name(), "name", &vm); !status.ok()) return status;
    if (request->has_grace_period() &&
        (request->grace_period().seconds() < 0 || request->grace_period().seconds() > 3600)) {
      return InvalidField("grace_period", "must be between 0 and 3600 seconds");
    }
    worker::v1::MoveRequest move;
    move.set_kind(worker::v1::MoveRequest::STOP);
    move.set_mode(request->mode());
    if (request->has_grace_period()) {
      *move.mutable_grace_period() = request->grace_period();
    } else {
      move.mutable_grace_period()->set_seconds(kDefaultGraceSeconds);
    }
    v1::StopVmResponse::Outcome outcome = v1::StopVmResponse::OUTCOME_UNSPECIFIED;
    grpc::Status status = vm->Move(move, DeadlineOf(*context), &outcome);
    if (status.ok()) {
      *response->mutable_vm() = vm->Snapshot();
      response->set_outcome(outcome);
    }
    return status;
  });
}

// ---- Looking in ----

grpc::Status VmsService::ReadRegisters(grpc::ServerContext* context,
                                       const v1::ReadRegistersRequest* request,
                                       v1::Registers* response) {
  std::shared_ptr<ManagedVm> vm;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = registry_.Find(request->name(), "name", &vm); !status.ok()) return status;
  if (auto status = vm->Worker(&worker); !status.ok()) return status;
  WorkerContext call(kWorkerAnswer, DeadlineOf(*context));
  return FromWorker(worker->stub().ReadRegisters(&call, *request, response), vm->id());
}

grpc::Status VmsService::ReadMemory(grpc::ServerContext* context,
                                    const v1::ReadMemoryRequest* request,
                                    v1::ReadMemoryResponse* response) {
  if (request->size() == 0 || request->size() > kMaxRead)
    return InvalidField("size", absl::StrCat("must be 1 to ", kMaxRead));
  std::shared_ptr<ManagedVm> vm;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = registry_.Find(request->name(), "name", &vm); !status.ok()) return status;
  if (auto status = vm->Worker(&worker); !status.ok()) return status;
  WorkerContext call(kWorkerAnswer, DeadlineOf(*context));
  return FromWorker(worker->stub().ReadMemory(&call, *request, response), vm->id());
}

grpc::Status VmsService::Disassemble(grpc::ServerContext* context,
                                     const v1::DisassembleRequest* request,
                                     v1::DisassembleResponse* response) {
  if (request->count() > kMaxInstructions)
    return InvalidField("count", absl::StrCat("at most ", kMaxInstructions));
  std::shared_ptr<ManagedVm> vm;
  std::shared_ptr<WorkerProcess> worker;
  if (auto status = registry_.Find(request->name(), "name", &vm); !status.ok()) return status;
  if (auto status = vm->Worker(&worker); !status.ok()) return status;
  WorkerContext call(kWorkerAnswer, DeadlineOf(*context));
  return FromWorker(worker->stub().Disassemble(&call, *request, response), vm->id());
}

}  // namespace trapline::daemon

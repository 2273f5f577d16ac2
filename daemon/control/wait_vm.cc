// SPDX-License-Identifier: Apache-2.0
// WaitVm: looks at its VM whenever something has happened to any.
#include <atomic>

#include "absl/strings/str_cat.h"
#include "daemon/common/errors.h"
#include "daemon/control/services.h"

namespace trapline::daemon {
namespace {

// Runs on the pump's thread, but for what gRPC calls.
class VmWait final : public grpc::ServerUnaryReactor, public StreamPump::Stream {
 public:
  VmWait(Registry& registry, std::shared_ptr<StreamPump> pump, const v1::WaitVmRequest& request,
         v1::Vm* response)
      : registry_(registry), pump_(std::move(pump)), request_(request), response_(response) {
    pump_->Add(this);
  }

  absl::Time Run(absl::Time) override {
    if (over_) return absl::InfiniteFuture();
    if (answer_) {
      if (answer_->there) {
        *response_ = std::move(answer_->vm);
        End(grpc::Status::OK);
      }
    } else if (gone_) {
      End(grpc::Status::CANCELLED);
    } else if (registry_.shutting_down()) {
      End(ShuttingDown());
    } else if (auto status = Look(); !status.ok()) {
      End(status);
    }
    return absl::InfiniteFuture();
  }
  void OnCancel() override {
    gone_ = true;
    pump_->Wake(this);
  }
  void OnDone() override {
    pump_->Remove(this);
    delete this;
  }

 private:
  struct Answer {
    v1::Vm vm;
    std::atomic<bool> there{false};
  };

  // Has the worker asked where the VM has come to a state that was waited for.
  grpc::Status Look() {
    if (!vm_) {
      if (auto status = Open(); !status.ok()) return status;
    }
    if (((states_ >> vm_->state()) & 1) != 0) {
      Ask();
      return grpc::Status::OK;
    }
    if (registry_.Has(*vm_)) return grpc::Status::OK;
    return Error(grpc::NOT_FOUND, "VM_NOT_FOUND",
                 absl::StrCat("VM ", vm_->id(), " was deleted while it was waited for"),
                 {{"vm", vm_->id()}});
  }

  grpc::Status Open() {
    std::shared_ptr<ManagedVm> vm;
    if (auto status = registry_.Find(request_.name(), "name", &vm); !status.ok()) return status;
    if (request_.target_states().empty()) return InvalidField("target_states", "name at least one");
    for (int state : request_.target_states()) {
      if (state <= 0 || state > v1::Vm::FAILED) return InvalidField("target_states", "not a state");
      states_ |= 1u << state;
    }
    vm_ = std::move(vm);
    return grpc::Status::OK;
  }

  void Ask() {
    answer_ = std::make_shared<Answer>();
    vm_->SnapshotThen([answer = answer_, self = this, pump = pump_](v1::Vm vm) {
      answer->vm = std::move(vm);
      answer->there = true;
      pump->Wake(self);
    });
  }

  void End(const grpc::Status& status) {
    over_ = true;
    Finish(status);
  }

  Registry& registry_;
  const std::shared_ptr<StreamPump> pump_;
  const v1::WaitVmRequest request_;
  v1::Vm* const response_;
  std::shared_ptr<ManagedVm> vm_;
  uint32_t states_ = 0;  // the bit 1 << state of each
  std::shared_ptr<Answer> answer_;
  bool over_ = false;
  std::atomic<bool> gone_{false};
};

}  // namespace

grpc::ServerUnaryReactor* VmsService::WaitVm(grpc::CallbackServerContext*,
                                             const v1::WaitVmRequest* request, v1::Vm* response) {
  return new VmWait(registry_, pump_, *request, response);
}

}  // namespace trapline::daemon

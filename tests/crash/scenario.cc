// SPDX-License-Identifier: Apache-2.0
// The steps.
#include "tests/crash/scenario.h"

namespace trapline::daemon {
namespace {

constexpr int kRounds = 3;

grpc::Status Create(DaemonProcess& daemon, const std::string& id, const std::string& label) {
  v1::CreateVmRequest request;
  request.set_vm_id(id);
  request.set_request_id("create-" + label);
  auto* vm = request.mutable_vm();
  (*vm->mutable_labels())["label"] = label;
  vm->mutable_spec()->set_kernel_path(TRAPLINE_GUESTS_DIR "/idle.elf");
  vm->mutable_spec()->set_memory_bytes(16 << 20);
  vm->mutable_spec()->set_engine(v1::ENGINE_SOFT);
  v1::Vm made;
  grpc::ClientContext context;
  return daemon.vms().CreateVm(&context, request, &made);
}

grpc::Status SetPolicy(DaemonProcess& daemon, const std::string& id, v1::Technique limit) {
  v1::SetPolicyRequest request;
  request.set_name("vms/" + id);
  request.mutable_policy()->set_limit(limit);
  v1::Policy policy;
  grpc::ClientContext context;
  return daemon.sites().SetPolicy(&context, request, &policy);
}

class Steps {
 public:
  void AddCreate(const std::string& id, const std::string& label) {
    kept_[id] = {label, v1::Vm::CREATED, v1::TECHNIQUE_UNSPECIFIED};
    Add("create " + id, v1::VmEvent::CREATED,
        [=](DaemonProcess& daemon) { return Create(daemon, id, label); });
  }
  void AddStart(const std::string& id) {
    kept_[id].state = v1::Vm::RUNNING;
    Add("start " + id, v1::VmEvent::STARTED,
        [=](DaemonProcess& daemon) { return daemon.StartVm(id); });
  }
  void AddStop(const std::string& id) {
    kept_[id].state = v1::Vm::STOPPED;
    Add("stop " + id, v1::VmEvent::STOPPED,
        [=](DaemonProcess& daemon) { return daemon.StopVm(id); });
  }
  void AddPolicy(const std::string& id, v1::Technique limit) {
    kept_[id].limit = limit;
    Add("set the policy of " + id, v1::VmEvent::KIND_UNSPECIFIED,
        [=](DaemonProcess& daemon) { return SetPolicy(daemon, id, limit); });
  }
  void AddDelete(const std::string& id) {
    kept_.erase(id);
    Add("delete " + id, v1::VmEvent::DELETED,
        [=](DaemonProcess& daemon) { return daemon.DeleteVm(id); });
  }
  std::vector<Step> Take() { return std::move(steps_); }

 private:
  void Add(const std::string& what, v1::VmEvent::Kind event,
           std::function<grpc::Status(DaemonProcess&)> call) {
    if (event != v1::VmEvent::KIND_UNSPECIFIED) events_.push_back(event);
    steps_.push_back({what, std::move(call), kept_, events_});
  }

  Kept kept_;
  std::vector<v1::VmEvent::Kind> events_;
  std::vector<Step> steps_;
};

}  // namespace

std::vector<Step> Scenario() {
  Steps steps;
  for (int round = 0; round < kRounds; ++round) {
    const std::string label = std::to_string(round);
    steps.AddCreate("a", label + "a");
    steps.AddPolicy("a", v1::TECHNIQUE_EMULATE);
    steps.AddStart("a");
    steps.AddCreate("b", label + "b");
    steps.AddStop("a");
    steps.AddDelete("b");
    steps.AddPolicy("a", v1::TECHNIQUE_INTERRUPT);
    steps.AddStart("a");
    steps.AddDelete("a");
  }
  return steps.Take();
}

}  // namespace trapline::daemon

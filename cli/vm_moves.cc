// SPDX-License-Identifier: Apache-2.0
// `trapline vm start|stop|pause|resume|reset|wait`: the lifecycle.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/vm_calls.h"
#include "cli/vm_text.h"

namespace trapline::cli {
namespace {

constexpr const char* kStates = "created|running|paused|stopped|failed";

// The state a VM came to, in one line or as the API's document.
absl::StatusOr<int> PrintVm(Session& session, const v1::Vm& vm, absl::string_view how = "") {
  const Output& out = session.output();
  absl::Status status;
  if (out.people()) {
    const std::string reason = how.empty() ? vm.state_reason() : std::string(how);
    status = out.Text(absl::StrCat(LastSegment(vm.name()), ": ", StateCell(vm.state()).text,
                                   reason.empty() ? "" : " (", Printable(reason),
                                   reason.empty() ? "" : ")", "\n"));
  } else {
    status = out.Document(vm);
  }
  if (!status.ok()) return status;
  return kOk;
}

absl::StatusOr<v1::Vm> WaitFor(Session& session, const std::string& name,
                               const std::vector<v1::Vm::State>& states) {
  v1::WaitVmRequest request;
  request.set_name(name);
  for (const v1::Vm::State state : states) request.add_target_states(state);
  return session.Call(session.vms(), &v1::Vms::Stub::WaitVm, request, Patience::kEndless);
}

// Start, pause, resume and reset differ in their method alone.
template <typename Request>
void AddMove(Commands& commands, CLI::App& vm, const std::string& name,
             const std::string& description,
             grpc::Status (v1::Vms::Stub::*method)(grpc::ClientContext*, const Request&, v1::Vm*)) {
  const auto target = std::make_shared<std::string>();
  CLI::App& app = commands.Add(vm,
                               {.name = name,
                                .description = description,
                                .examples = absl::StrCat("trapline vm ", name, " debian")},
                               [target, method](Session& session) -> absl::StatusOr<int> {
                                 Request request;
                                 request.set_name(*target);
                                 request.set_request_id(NewRequestId());
                                 const absl::StatusOr<v1::Vm> vm =
                                     session.Call(session.vms(), method, request);
                                 if (!vm.ok()) return vm.status();
                                 return PrintVm(session, *vm);
                               });
  AddVm(app, *target);
}

// Starting may wait for the guest's end: a script's way to run a guest without its console.
void AddStart(Commands& commands, CLI::App& vm) {
  struct Flags {
    std::string name;
    bool wait = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App& app =
      commands.Add(vm,
                   {.name = "start",
                    .description = "Boot a VM that is created, stopped or failed",
                    .examples = "trapline vm start debian\n"
                                "trapline vm start batch-job --wait --timeout 10m"},
                   [flags](Session& session) -> absl::StatusOr<int> {
                     absl::StatusOr<v1::Vm> vm = StartVm(session, flags->name);
                     if (vm.ok() && flags->wait)
                       vm = WaitFor(session, flags->name, {v1::Vm::STOPPED, v1::Vm::FAILED});
                     if (!vm.ok()) return vm.status();
                     return PrintVm(session, *vm);
                   });
  AddVm(app, flags->name);
  app.add_flag("--wait", flags->wait, "Return when the guest has ended");
}

absl::string_view OutcomeText(v1::StopVmResponse::Outcome outcome) {
  switch (outcome) {
    case v1::StopVmResponse::ALREADY_STOPPED:
      return "it was stopped already";
    case v1::StopVmResponse::GUEST_STOPPED:
      return "the guest switched itself off";
    case v1::StopVmResponse::FORCED:
      return "forced";
    default:
      return "";
  }
}

void AddStop(Commands& commands, CLI::App& vm) {
  struct Flags {
    std::string name;
    bool force = false;
    absl::Duration grace = absl::InfiniteDuration();
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(
      vm,
      {.name = "stop",
       .description = "Press the power button; switch off when the grace period is over",
       .examples = "trapline vm stop debian\n"
                   "trapline vm stop debian --grace 1m\n"
                   "trapline vm stop debian --force"},
      [flags](Session& session) -> absl::StatusOr<int> {
        const auto stopped =
            StopVm(session, flags->name, flags->force, flags->grace, Patience::kEndless);
        if (!stopped.ok()) return stopped.status();
        const Output& out = session.output();
        if (out.people()) return PrintVm(session, stopped->vm(), OutcomeText(stopped->outcome()));
        const absl::Status status = out.Document(*stopped);
        if (!status.ok()) return status;
        return kOk;
      });
  AddVm(app, flags->name);
  app.add_flag("-f,--force", flags->force, "Switch off at once");
  AddDuration(app, "--grace", flags->grace, "How long the guest has (default: the daemon's)");
}

void AddWait(Commands& commands, CLI::App& vm) {
  struct Flags {
    std::string name;
    std::vector<std::string> states = {"stopped", "failed"};
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(vm,
                               {.name = "wait",
                                .description = "Return when the VM is in one of these states",
                                .examples = "trapline vm wait debian --for running --timeout 30s\n"
                                            "trapline vm wait debian --for stopped,failed"},
                               [flags](Session& session) -> absl::StatusOr<int> {
                                 std::vector<v1::Vm::State> states;
                                 for (const std::string& name : flags->states)
                                   states.push_back(StateOf(name));
                                 const absl::StatusOr<v1::Vm> vm =
                                     WaitFor(session, flags->name, states);
                                 if (!vm.ok()) return vm.status();
                                 return PrintVm(session, *vm);
                               });
  AddVm(app, flags->name);
  AddChoices(app, "--for", flags->states, kStates, "States to wait for (default: stopped,failed)");
}

}  // namespace

void AddVmMoveCommands(Commands& commands, CLI::App& vm) {
  AddStart(commands, vm);
  AddStop(commands, vm);
  AddMove<v1::PauseVmRequest>(commands, vm, "pause",
                              "Hold every vCPU; the guest's clock stands still",
                              &v1::Vms::Stub::PauseVm);
  AddMove<v1::ResumeVmRequest>(commands, vm, "resume", "Let a paused VM go on",
                               &v1::Vms::Stub::ResumeVm);
  AddMove<v1::ResetVmRequest>(commands, vm, "reset", "Boot a running VM afresh",
                              &v1::Vms::Stub::ResetVm);
  AddWait(commands, vm);
}

}  // namespace trapline::cli

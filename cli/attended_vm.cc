// SPDX-License-Identifier: Apache-2.0
// A VM that lives for one measurement.
#include "cli/attended_vm.h"

#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "cli/vm_calls.h"

namespace trapline::cli {

absl::StatusOr<GuestRun> RunGuestOnce(Session& session, const v1::Vm& definition,
                                      const Listener& listener) {
  const std::unique_ptr<grpc::ClientContext> context = session.Context(Patience::kEndless);
  const Interrupts::Guard guard(session.interrupts(), [&context] { context->TryCancel(); });
  const std::string id = absl::StrCat("bench-", NewRequestId().substr(0, 8));
  GuestRun run;
  run.asked = absl::Now();
  const absl::StatusOr<v1::Vm> created = CreateVm(session, id, definition);
  if (!created.ok()) return created.status();
  const std::string name = created->name();
  const absl::Cleanup remove = [&] {
    (void)DeleteVm(session, name, /*force=*/true, Patience::kCleanUp);
  };

  const auto stream = session.vms().Console(context.get());
  v1::ConsoleRequest attach;
  attach.set_name(name);
  stream->Write(attach);
  stream->WaitForInitialMetadata();  // attached: nothing will be missed
  run.started = absl::Now();
  const absl::StatusOr<v1::Vm> started = StartVm(session, name);
  if (!started.ok()) context->TryCancel();
  v1::ConsoleResponse response;
  bool enough = false;
  while (!enough && stream->Read(&response)) {
    run.output += response.output();
    enough = !listener(run.output);
  }
  if (enough) context->TryCancel();
  const grpc::Status ended = stream->Finish();
  if (!started.ok()) return started.status();
  if (session.interrupts().interrupted()) return absl::CancelledError("interrupted");
  if (!ended.ok() && !enough) return session.Explain(ended);
  absl::StatusOr<v1::Vm> vm = GetVm(session, name);
  if (!vm.ok()) return vm.status();
  run.vm = *std::move(vm);
  return run;
}

}  // namespace trapline::cli

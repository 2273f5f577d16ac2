// SPDX-License-Identifier: Apache-2.0
// `trapline vm console`: attach to a VM's serial port.
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "cli/vm_calls.h"

namespace trapline::cli {
namespace {

absl::StatusOr<int> Attach(Session& session, const std::string& name) {
  // Before the terminal is touched: a slip in the name is told plainly.
  const absl::StatusOr<v1::Vm> vm = GetVm(session, name);
  if (!vm.ok()) return vm.status();
  ConsoleOptions options;
  options.vm = name;
  options.raw = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
  const absl::StatusOr<ConsoleEnd> end = RunConsole(session, options);
  if (!end.ok()) return end.status();
  if (options.raw) (void)WriteAll(STDERR_FILENO, "\r\n");
  switch (*end) {
    case ConsoleEnd::kDetached:
      Say("detached");
      break;
    case ConsoleEnd::kGuestEnded:
      Say("the guest has ended");
      break;
    case ConsoleEnd::kInterrupted:
      break;
    case ConsoleEnd::kStopRequest: {
      Say("stopping");
      const auto stopped =
          StopVm(session, name, /*force=*/false, absl::InfiniteDuration(), Patience::kEndless);
      if (!stopped.ok()) return stopped.status();
      break;
    }
  }
  return kOk;
}

}  // namespace

void AddVmConsoleCommand(Commands& commands, CLI::App& vm) {
  const auto name = std::make_shared<std::string>();
  CLI::App& app =
      commands.Add(vm,
                   {.name = "console",
                    .description = "Attach to a VM's serial port; recent output is shown first",
                    .formats = 0,
                    .examples = "trapline vm console debian\n"
                                "echo uname -a | trapline vm console debian --timeout 5s\n"
                                "On a terminal Ctrl-] d detaches and Ctrl-] q stops the VM; every "
                                "other key goes to the guest."},
                   [name](Session& session) { return Attach(session, *name); });
  AddVm(app, *name);
}

}  // namespace trapline::cli

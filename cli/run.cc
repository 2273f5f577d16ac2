// SPDX-License-Identifier: Apache-2.0
// `trapline run`: a VM for as long as one command: create, attach, start, console, remove.
//
// Whatever ends the console (the guest, the escape key, a signal, an error), the VM is removed,
// unless the person detached or asked to keep it. The call that removes it has a deadline of its
// own, so that neither --timeout nor a broken console leaves a VM behind.
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "cli/vm_calls.h"
#include "cli/vm_text.h"

namespace trapline::cli {
namespace {

constexpr absl::Duration kStopGrace = absl::Seconds(3);

struct RunFlags : VmFlags {
  std::string name;
  bool detach = false;
  bool keep = false;
};

// How the guest ended, as a process would say it.
int ExitCodeOf(const v1::Vm& vm) {
  if (vm.state() == v1::Vm::FAILED) {
    Say(absl::StrCat("the VM failed: ", Printable(vm.state_reason())));
    return kError;
  }
  return vm.has_exit_status() ? vm.exit_status() & 0xff : kOk;
}

// The console from before the guest's first byte to its end; the exit code, and whether the VM is
// to live on.
struct Attended {
  absl::StatusOr<int> code = kOk;
  bool detached = false;
};

Attended Attend(Session& session, const std::string& name) {
  ConsoleOptions options;
  options.vm = name;
  options.raw = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
  options.on_attached = [&] { return StartVm(session, name).status(); };
  const absl::StatusOr<ConsoleEnd> end = RunConsole(session, options);
  if (!end.ok()) return {end.status()};
  switch (*end) {
    case ConsoleEnd::kDetached:
      return {kOk, true};
    case ConsoleEnd::kInterrupted:
      return {kInterruptedCode};
    case ConsoleEnd::kStopRequest: {
      Say("stopping");
      const auto stopped = StopVm(session, name, /*force=*/false, kStopGrace, Patience::kCleanUp);
      if (!stopped.ok()) return {stopped.status()};
      break;
    }
    case ConsoleEnd::kGuestEnded:
      break;
  }
  const absl::StatusOr<v1::Vm> vm = GetVm(session, name);
  if (!vm.ok()) return {vm.status()};
  return {ExitCodeOf(*vm)};
}

// A signal waits until the call is over: ended in the middle, it would leave a VM that nobody knows
// of.
absl::StatusOr<v1::Vm> CreateUninterrupted(Session& session, const std::string& id, v1::Vm vm) {
  const Interrupts::Guard guard(session.interrupts(), [] {});
  return CreateVm(session, id, std::move(vm));
}

void Remove(Session& session, const std::string& name) {
  const Interrupts::Guard guard(session.interrupts(), [] {});
  const absl::Status removed = DeleteVm(session, name, /*force=*/true, Patience::kCleanUp);
  if (!removed.ok() && !absl::IsNotFound(removed)) {
    Say(absl::StrCat("could not remove ", name, ": ", DescribeStatus(removed)));
  }
}

absl::StatusOr<int> RunGuest(Session& session, const RunFlags& flags) {
  absl::StatusOr<v1::Vm> wanted = VmFromFlags(flags);
  if (!wanted.ok()) return wanted.status();
  const std::string id =
      flags.name.empty() ? absl::StrCat("run-", NewRequestId().substr(0, 8)) : flags.name;
  const std::string name = ResourceName(id);
  const absl::StatusOr<v1::Vm> created = CreateUninterrupted(session, id, *std::move(wanted));
  if (!created.ok()) return created.status();
  if (session.interrupts().interrupted()) {
    Remove(session, name);
    return kInterruptedCode;
  }
  if (flags.detach) {
    const absl::StatusOr<v1::Vm> started = StartVm(session, name);
    if (!started.ok()) {
      if (!flags.keep) Remove(session, name);
      return started.status();
    }
    const absl::Status printed = session.output().Text(absl::StrCat(id, "\n"));
    if (!printed.ok()) return printed;
    return kOk;
  }
  Attended attended = Attend(session, name);
  if (attended.detached) {
    Say(absl::StrCat("detached; 'trapline vm console ", id,
                     "' attaches again, 'trapline vm rm --force ", id, "' ends it"));
  } else if (!flags.keep) {
    Remove(session, name);
  }
  return attended.code;
}

}  // namespace

void AddRunCommand(Commands& commands) {
  const auto flags = std::make_shared<RunFlags>();
  CLI::App& app = commands.Add(
      commands.root(),
      {.name = "run",
       .description = "Create a VM, start it, attach to its console, and remove it at its end",
       .formats = 0,
       .examples =
           "trapline run vmlinuz --initrd initramfs.gz --append 'console=ttyS0' --vcpus 4 --memory "
           "512M\n"
           "trapline run guests/hello.elf; echo \"the guest's exit status: $?\"\n"
           "trapline run vmlinuz --initrd initramfs.gz --detach --name debian\n"
           "On a terminal Ctrl-] d detaches and Ctrl-] q stops the VM; every other key goes to the "
           "guest.\n"
           "Ends with the guest's exit status: the debug-exit port's, 0 after power-off, 1 if the "
           "VM failed."},
      [flags](Session& session) { return RunGuest(session, *flags); });
  app.add_option("KERNEL", flags->kernel, "bzImage, ELF64 or Multiboot 1 image")
      ->required()
      ->type_name("FILE");
  AddVmFlags(app, *flags);
  app.add_option("--name", flags->name, "The VM's name (default: run- and a random part)")
      ->type_name("NAME");
  app.add_flag("-d,--detach", flags->detach, "Start it, print its name and leave it running");
  app.add_flag("--keep", flags->keep, "Do not remove the VM at its end");
}

}  // namespace trapline::cli

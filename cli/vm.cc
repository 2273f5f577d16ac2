// SPDX-License-Identifier: Apache-2.0
// `trapline vm create|ls|show|rm`: VMs and their definitions.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/restart_text.h"
#include "cli/table.h"
#include "cli/units.h"
#include "cli/vm_calls.h"
#include "cli/vm_details.h"
#include "cli/vm_text.h"

namespace trapline::cli {
namespace {

// Every page of the list, as one response.
absl::StatusOr<v1::ListVmsResponse> ListAll(Session& session, const std::string& filter) {
  v1::ListVmsResponse all;
  v1::ListVmsRequest request;
  request.set_filter(filter);
  do {
    absl::StatusOr<v1::ListVmsResponse> page =
        session.Call(session.vms(), &v1::Vms::Stub::ListVms, request);
    if (!page.ok()) return page.status();
    all.mutable_vms()->MergeFrom(page->vms());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return all;
}

std::string VmTable(const v1::ListVmsResponse& list, bool colour) {
  Table table({{"NAME"},
               {"STATE"},
               {"ENGINE"},
               {"VCPUS", Align::kRight},
               {"MEMORY", Align::kRight},
               {"AGE", Align::kRight},
               {"REASON"}});
  for (const v1::Vm& vm : list.vms()) {
    table.Add({LastSegment(vm.name()), StateCell(vm.state()), EngineName(vm.engine()),
               absl::StrCat(vm.spec().vcpus()), FormatSize(vm.spec().memory_bytes()),
               AgeOf(vm.create_time()), vm.state_reason()});
  }
  return table.Render(colour);
}

// What the guest was at when it broke down, indented below a heading.
std::string FailureText(const v1::Vm& vm, bool colour) {
  if (vm.state() != v1::Vm::FAILED || vm.failure_report().empty()) return "";
  std::string text = absl::StrCat("\n", Paint("Failure:", Colour::kBold, colour), "\n");
  for (const absl::string_view line :
       absl::StrSplit(vm.failure_report(), '\n', absl::SkipWhitespace()))
    absl::StrAppend(&text, "  ", Printable(line), "\n");
  return text;
}

std::string VmDetails(const v1::Vm& vm, bool colour) {
  Details details;
  details.Add("Name", LastSegment(vm.name()));
  AddState(vm, details);
  AddMachine(vm, details);
  details.AddIfSet("Symbols file", vm.spec().symbols_path());
  details.AddIfSet("Symbols", vm.symbols());
  details.AddIfSet("Command line", vm.spec().command_line());
  details.AddIfSet("Policy", PolicyText(vm.spec().policy()));
  details.AddIfSet("Restart", RestartText(vm.spec().restart()));
  if (vm.restart_count() != 0) details.Add("Restarts", absl::StrCat(vm.restart_count()));
  if (vm.has_next_start_time()) details.Add("Next start", TimeText(vm.next_start_time()));
  // Engine direct has nobody to count them.
  if (vm.instructions_retired() != 0)
    details.Add("Instructions", Grouped(vm.instructions_retired()));
  for (const auto& measure : vm.confinement().measures())
    details.Add("Confinement", MeasureCell(measure));
  for (const auto& [key, value] : vm.labels()) details.Add("Label", absl::StrCat(key, "=", value));
  details.Add("Created", TimeText(vm.create_time()));
  details.Add("Uid", vm.uid());
  return absl::StrCat(details.Render(colour), FailureText(vm, colour));
}

absl::StatusOr<int> ShowVm(Session& session, const v1::Vm& vm) {
  const Output& out = session.output();
  const absl::Status status =
      out.people() ? out.Text(VmDetails(vm, out.colour())) : out.Document(vm);
  if (!status.ok()) return status;
  return kOk;
}

void AddCreate(Commands& commands, CLI::App& vm) {
  struct Flags : VmFlags {
    std::string name;
    bool dry_run = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(
      vm,
      {.name = "create",
       .description = "Define a VM and load its images; it does not run yet",
       .formats = kListFormats,
       .examples =
           "trapline vm create debian --kernel vmlinuz --initrd initramfs.gz --append "
           "'console=ttyS0' \\\n"
           "    --vcpus 4 --memory 512M\n"
           "trapline vm create bench --kernel guests/hypercall_bench.elf --technique linked"},
      [flags](Session& session) -> absl::StatusOr<int> {
        absl::StatusOr<v1::Vm> wanted = VmFromFlags(*flags);
        if (!wanted.ok()) return wanted.status();
        const absl::StatusOr<v1::Vm> created =
            CreateVm(session, flags->name, *std::move(wanted), flags->dry_run);
        if (!created.ok()) return created.status();
        const Output& out = session.output();
        const bool words = out.people() || out.format() == Format::kName;
        const absl::Status status =
            words ? out.Text(absl::StrCat(flags->name, "\n")) : out.Document(*created);
        if (!status.ok()) return status;
        return kOk;
      });
  app.add_option("NAME", flags->name, "Lower-case letters, digits and hyphens")
      ->required()
      ->type_name("");
  app.add_option("--kernel", flags->kernel, "bzImage, ELF64 or Multiboot 1 image")
      ->required()
      ->type_name("FILE");
  AddVmFlags(app, *flags);
  AddRestartFlags(app, *flags);
  app.add_flag("--dry-run", flags->dry_run, "Check everything and create nothing");
}

void AddList(Commands& commands, CLI::App& vm) {
  const auto filter = std::make_shared<std::string>();
  CLI::App& app = commands.Add(vm,
                               {.name = "ls",
                                .description = "List VMs",
                                .formats = kListFormats,
                                .examples = "trapline vm ls\n"
                                            "trapline vm ls -o json | jq -r '.vms[].name'"},
                               [filter](Session& session) -> absl::StatusOr<int> {
                                 absl::StatusOr<v1::ListVmsResponse> list =
                                     ListAll(session, *filter);
                                 if (!list.ok()) return list.status();
                                 const Output& out = session.output();
                                 absl::Status status;
                                 if (out.people()) {
                                   status = out.Text(VmTable(*list, out.colour()));
                                 } else if (out.format() == Format::kName) {
                                   std::string names;
                                   for (const v1::Vm& vm : list->vms()) {
                                     absl::StrAppend(&names, LastSegment(vm.name()), "\n");
                                   }
                                   status = out.Text(names);
                                 } else {
                                   status = out.Document(*list);
                                 }
                                 if (!status.ok()) return status;
                                 return kOk;
                               });
  app.add_option("--filter", *filter, "Only those that match, as the API filters")
      ->type_name("FILTER");
}

void AddShow(Commands& commands, CLI::App& vm) {
  const auto name = std::make_shared<std::string>();
  CLI::App& app = commands.Add(vm,
                               {.name = "show",
                                .description = "Everything about one VM",
                                .examples = "trapline vm show debian\n"
                                            "trapline vm show debian -o yaml"},
                               [name](Session& session) -> absl::StatusOr<int> {
                                 const absl::StatusOr<v1::Vm> vm = GetVm(session, *name);
                                 if (!vm.ok()) return vm.status();
                                 return ShowVm(session, *vm);
                               });
  AddVm(app, *name);
}

void AddRemove(Commands& commands, CLI::App& vm) {
  struct Flags {
    std::vector<std::string> names;
    bool force = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App& app =
      commands.Add(vm,
                   {.name = "rm",
                    .description = "Remove VMs that do not run",
                    .formats = 0,
                    .examples = "trapline vm rm debian\n"
                                "trapline vm rm --force one two"},
                   [flags](Session& session) -> absl::StatusOr<int> {
                     for (const std::string& name : flags->names) {
                       const absl::Status deleted =
                           DeleteVm(session, ResourceName(name), flags->force, Patience::kPrompt);
                       if (!deleted.ok()) return deleted;
                     }
                     return kOk;
                   });
  app.add_option("VM", flags->names, "Their names")->required()->type_name("");
  app.add_flag("-f,--force", flags->force, "Stop those that run first");
}

}  // namespace

void AddVmCommands(Commands& commands) {
  CLI::App& vm = commands.AddGroup("vm", "Create, list, run and look into VMs");
  AddCreate(commands, vm);
  AddList(commands, vm);
  AddShow(commands, vm);
  AddVmMoveCommands(commands, vm);
  AddRemove(commands, vm);
  AddVmConsoleCommand(commands, vm);
  AddVmEventsCommand(commands, vm);
  AddVmInspectCommands(commands, vm);
  AddVmReportCommand(commands, vm);
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// `trapline host`: the daemon's machine.
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/table.h"
#include "cli/units.h"
#include "cli/vm_text.h"

namespace trapline::cli {
namespace {

std::string EngineTable(const v1::HostInfo& host, bool colour) {
  Table table({{"ENGINE"}, {"HERE"}, {"REASON"}});
  for (const auto& engine : host.engines()) {
    table.Add({EngineName(engine.engine()),
               engine.available() ? Cell("yes", Colour::kGreen) : Cell("no", Colour::kYellow),
               engine.reason()});
  }
  return table.empty() ? "" : absl::StrCat("\n", table.Render(colour));
}

std::string KindText(v1::TrapBehaviour::Kind kind) {
  switch (kind) {
    case v1::TrapBehaviour::INVALID_OPCODE:
      return "invalid opcode (#UD)";
    case v1::TrapBehaviour::GENERAL_PROTECTION:
      return "general protection (#GP)";
    case v1::TrapBehaviour::OTHER_FAULT:
      return "another fault";
    case v1::TrapBehaviour::SILENT:
      return "silent";
    case v1::TrapBehaviour::REWRITTEN:
      return "rewritten by the hypervisor below";
    default:
      return "not known";
  }
}

std::string TrapTable(const v1::HostInfo& host, bool colour) {
  Table table({{"RING 3 INSTRUCTION"}, {"WHAT IT DOES"}, {"SIGNAL"}, {"CYCLES", Align::kRight}});
  for (const auto& trap : host.traps()) {
    table.Add({trap.instruction(), KindText(trap.kind()),
               trap.signal().empty() ? "-" : trap.signal(), Grouped(trap.cycles())});
  }
  return table.empty() ? "" : absl::StrCat("\n", table.Render(colour));
}

std::string HostText(const v1::HostInfo& host, bool colour) {
  Details details;
  details.Add("traplined", host.version());
  details.Add("Processor", absl::StrCat(host.cpus(), " x ", host.cpu_model()));
  details.Add("Memory", FormatSize(host.memory_bytes()));
  details.Add("Cycles", absl::StrCat(Grouped(host.cycles_per_second()), " a second"));
  details.AddIfSet("Kernel", host.kernel());
  if (host.has_limits())
    details.Add("Limits", absl::StrCat(host.limits().max_vms(),
                                       " VMs; a VM: ", host.limits().max_vcpus_per_vm(), " vCPUs, ",
                                       FormatSize(host.limits().max_memory_bytes_per_vm())));
  return absl::StrCat(details.Render(colour), EngineTable(host, colour), TrapTable(host, colour));
}

}  // namespace

void AddHostCommand(Commands& commands) {
  commands.Add(commands.root(),
               {.name = "host",
                .description = "The daemon's machine: version, engines, what a trap costs there",
                .examples = "trapline host\n"
                            "trapline host -o json | jq '.engines[] | select(.available)'"},
               [](Session& session) -> absl::StatusOr<int> {
                 const auto host = session.Call(session.host(), &v1::Host::Stub::GetHostInfo,
                                                v1::GetHostInfoRequest());
                 if (!host.ok()) return host.status();
                 const Output& out = session.output();
                 const absl::Status status =
                     out.people() ? out.Text(HostText(*host, out.colour())) : out.Document(*host);
                 if (!status.ok()) return status;
                 return kOk;
               });
}

}  // namespace trapline::cli

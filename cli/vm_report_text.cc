// SPDX-License-Identifier: Apache-2.0
// The part of a VM's report that a person reads first.
#include "cli/vm_report_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/names.h"
#include "cli/table.h"
#include "cli/units.h"
#include "cli/vm_details.h"

namespace trapline::cli {
namespace {

std::string VmLines(const ReportSummary& summary) {
  const v1::Vm& vm = summary.vm;
  Details details;
  details.Add("VM", LastSegment(vm.name()));
  AddState(vm, details);
  if (!vm.failure_report().empty()) {
    const std::vector<std::string> lines =
        absl::StrSplit(vm.failure_report(), absl::MaxSplits('\n', 1));
    details.Add("Failure", absl::StrCat(lines.front(), " (failure.txt has more)"));
  }
  AddMachine(vm, details);
  details.AddIfSet("Command line", vm.spec().command_line());
  details.Add("Created", TimeText(vm.create_time()));
  details.Add("Uid", vm.uid());
  return details.Render(false);
}

std::string SurroundingsLines(const ReportSummary& summary) {
  Details details;
  if (summary.totals)
    details.Add("Sites", absl::StrCat(Grouped(summary.totals->sites()), ", ",
                                      Grouped(summary.totals->traps()), " traps, ",
                                      Grouped(summary.totals->fast_calls()), " fast calls"));
  details.AddIfSet("traplined", summary.host.version());
  details.Add("trapline", summary.client_version);
  if (!summary.host.cpu_model().empty())
    details.Add("Processor", absl::StrCat(summary.host.cpus(), " x ", summary.host.cpu_model()));
  details.AddIfSet("Host's kernel", summary.host.kernel());
  return details.Render(false);
}

std::string PartTable(const std::vector<ReportPart>& parts) {
  Table table({{"FILE"}, {"BYTES", Align::kRight}, {"WHAT"}});
  for (const ReportPart& part : parts) {
    if (part.missing.empty()) table.Add({part.name, Grouped(part.bytes), part.what});
  }
  return table.empty() ? "nothing\n" : table.Render(false);
}

std::string MissingTable(const std::vector<ReportPart>& parts) {
  Table table({{"FILE"}, {"WHAT"}, {"WHY NOT"}});
  for (const ReportPart& part : parts) {
    if (!part.missing.empty()) table.Add({part.name, part.what, part.missing});
  }
  return table.empty() ? "Nothing is missing.\n"
                       : absl::StrCat("What is not in it:\n\n", table.Render(false));
}

}  // namespace

std::string ReportSummaryText(const ReportSummary& summary) {
  return absl::StrCat("Report of a Trapline VM, made at ",
                      absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", summary.time, absl::UTCTimeZone()),
                      "\n\n", VmLines(summary), "\n", SurroundingsLines(summary),
                      "\nWhat is in it:\n\n", PartTable(summary.parts), "\n",
                      MissingTable(summary.parts));
}

}  // namespace trapline::cli

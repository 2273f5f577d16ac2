// SPDX-License-Identifier: Apache-2.0
// `trapline vm report`: all that is known of a VM in one archive, for who looks into a bug.
//
// What cannot be had, because the VM has not run, is over, or its worker is gone, is listed in the
// summary with the reason; it is no error.
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/hex_text.h"
#include "cli/ledger_export.h"
#include "cli/names.h"
#include "cli/recent.h"
#include "cli/report_archive.h"
#include "cli/staged_file.h"
#include "cli/status.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "cli/vm_calls.h"
#include "cli/vm_report_text.h"

namespace trapline::cli {
namespace {

constexpr uint32_t kInstructions = 24;

struct Flags {
  std::string vm;
  std::string file;
};

// Packs parts and keeps book of them. A part that cannot be had is noted. An archive that cannot be
// written to is an error, and nothing is asked for behind it.
class Packer {
 public:
  Packer(ReportArchive& archive, std::vector<ReportPart>& parts)
      : archive_(archive), parts_(parts) {}

  void Pack(const std::string& name, const std::string& what,
            const std::function<absl::StatusOr<std::string>()>& make) {
    if (!status_.ok()) return;
    const absl::StatusOr<std::string> text = make();
    if (!text.ok()) return Miss(name, what, text.status());
    parts_.push_back({name, what, text->size(), ""});
    status_ = archive_.Add(name, *text);
  }
  // A part that is written piece by piece.
  void PackLong(const std::string& name, const std::string& what,
                const std::function<absl::Status(const Sink&)>& write) {
    if (!status_.ok()) return;
    absl::StatusOr<Spool> spool = Spool::Create();
    status_ = spool.status();
    if (!status_.ok()) return;
    const absl::Status written =
        write([&spool](absl::string_view piece) { return spool->Write(piece); });
    if (!written.ok()) return Miss(name, what, written);
    parts_.push_back({name, what, spool->size(), ""});
    status_ = archive_.Add(name, *spool);
  }
  absl::Status status() const { return status_; }

 private:
  void Miss(const std::string& name, const std::string& what, const absl::Status& why) {
    parts_.push_back({name, what, 0, absl::StrReplaceAll(DescribeStatus(why), {{"\n", "; "}})});
  }

  ReportArchive& archive_;
  std::vector<ReportPart>& parts_;
  absl::Status status_;
};

absl::StatusOr<std::string> FailureText(const v1::Vm& vm) {
  if (vm.failure_report().empty())
    return absl::NotFoundError("no fault of a virtual CPU has ended it");
  return vm.failure_report();
}

// Registers and code of one virtual CPU.
absl::StatusOr<std::string> VcpuText(Session& session, const std::string& vm, uint32_t vcpu) {
  v1::ReadRegistersRequest read;
  read.set_name(vm);
  read.set_vcpu(vcpu);
  const auto registers = session.Call(session.vms(), &v1::Vms::Stub::ReadRegisters, read);
  if (!registers.ok()) return registers.status();
  v1::DisassembleRequest disassemble;
  disassemble.set_name(vm);
  disassemble.set_vcpu(vcpu);
  disassemble.set_count(kInstructions);
  const auto code = session.Call(session.vms(), &v1::Vms::Stub::Disassemble, disassemble);
  return absl::StrCat("vCPU ", vcpu, "\n\n", RegisterText(*registers), "\n",
                      code.ok() ? InstructionText(*code, false)
                                : absl::StrCat("no code: ", code.status().message(), "\n"),
                      "\n");
}

absl::StatusOr<std::string> VcpusText(Session& session, const v1::Vm& vm) {
  std::string text;
  for (uint32_t vcpu = 0; vcpu < vm.spec().vcpus(); ++vcpu) {
    const absl::StatusOr<std::string> one = VcpuText(session, vm.name(), vcpu);
    if (!one.ok()) return one.status();
    absl::StrAppend(&text, *one);
  }
  return text;
}

void PackLedger(Session& session, const std::string& vm, Packer& packer) {
  packer.PackLong("sites.json", "every site and its transitions, as 'sites export' has them",
                  [&](const Sink& sink) { return ExportLedger(session, vm, sink); });
  packer.PackLong("sites.csv", "a row for each site",
                  [&](const Sink& sink) { return ExportSitesAsCsv(session, vm, sink); });
  packer.PackLong("history.csv", "a row for each transition",
                  [&](const Sink& sink) { return ExportTransitionsAsCsv(session, vm, sink); });
}

absl::StatusOr<std::string> HostText(Session& session, ReportSummary& summary) {
  const auto host =
      session.Call(session.host(), &v1::Host::Stub::GetHostInfo, v1::GetHostInfoRequest());
  if (!host.ok()) return host.status();
  summary.host = *host;
  return ToJson(*host, true);
}

void PackAll(Session& session, ReportSummary& summary, Packer& packer) {
  const v1::Vm& vm = summary.vm;
  packer.Pack("vm.json", "the VM, as 'vm show' has it", [&] { return ToJson(vm, true); });
  packer.Pack("failure.txt", "registers and code where the guest broke down",
              [&] { return FailureText(vm); });
  PackLedger(session, vm.name(), packer);
  packer.PackLong("trace.jsonl", "the last hypercalls on record",
                  [&](const Sink& sink) { return RecentHypercalls(session, vm, sink); });
  packer.Pack("console.log", "recent console output", [&] { return RecentConsole(session, vm); });
  packer.Pack("events.jsonl", "what happened to the VM", [] {
    return absl::UnimplementedError("the daemon tells of events as they happen, not of past ones");
  });
  packer.Pack("vcpus.txt", "registers and code of each virtual CPU",
              [&] { return VcpusText(session, vm); });
  packer.Pack("host.json", "the daemon's machine", [&] { return HostText(session, summary); });
}

absl::StatusOr<int> Report(Session& session, const Flags& flags) {
  ReportSummary summary;
  summary.time = absl::Now();
  summary.client_version = TRAPLINE_VERSION;
  absl::StatusOr<v1::Vm> vm = GetVm(session, flags.vm);
  if (!vm.ok()) return vm.status();
  summary.vm = *std::move(vm);
  const std::string folder = absl::StrCat("trapline-report-", LastSegment(flags.vm));
  const std::string path = flags.file.empty() ? absl::StrCat(folder, ".tar.gz") : flags.file;
  absl::StatusOr<StagedFile> file = StagedFile::Create("--file", path);
  if (!file.ok()) return file.status();
  absl::StatusOr<ReportArchive> archive = ReportArchive::Create(file->fd(), folder, summary.time);
  if (!archive.ok()) return archive.status();
  Packer packer(*archive, summary.parts);
  PackAll(session, summary, packer);
  v1::GetSiteTotalsRequest request;
  request.set_parent(flags.vm);
  const auto totals = session.Call(session.sites(), &v1::Sites::Stub::GetSiteTotals, request);
  if (totals.ok()) summary.totals = *totals;
  absl::Status status = packer.status();
  if (status.ok()) status = archive->Add("summary.txt", ReportSummaryText(summary));
  if (status.ok()) status = archive->Close();
  if (status.ok()) status = file->Commit();
  if (!status.ok()) return status;
  Say(absl::StrCat(path, ": begin with ", folder, "/summary.txt"));
  return kOk;
}

}  // namespace

void AddVmReportCommand(Commands& commands, CLI::App& vm) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(
      vm,
      {.name = "report",
       .description = "All that is known of a VM in one archive, for a bug report; also of one "
                      "that failed or whose worker was killed",
       .formats = 0,
       .examples = "trapline vm report debian\n"
                   "trapline vm report debian --file bug.tar.gz && tar xzf bug.tar.gz -O "
                   "trapline-report-debian/summary.txt"},
      [flags](Session& session) { return Report(session, *flags); });
  AddVm(app, flags->vm);
  app.add_option("--file", flags->file, "The archive (default: trapline-report-VM.tar.gz here)")
      ->type_name("FILE.tar.gz");
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// `trapline sites export`: a VM's whole ledger as a file.
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/ledger_export.h"
#include "cli/staged_file.h"
#include "cli/vm_text.h"

namespace trapline::cli {
namespace {

struct Flags {
  std::string vm;
  std::string format = "json";
  std::string file;
};

absl::Status Write(Session& session, const Flags& flags, const Sink& sink) {
  return flags.format == "csv" ? ExportSitesAsCsv(session, flags.vm, sink)
                               : ExportLedger(session, flags.vm, sink);
}

absl::StatusOr<int> Export(Session& session, const Flags& flags) {
  if (flags.file.empty()) {
    const absl::Status status = Write(
        session, flags, [&](absl::string_view piece) { return session.output().Text(piece); });
    if (!status.ok()) return status;
    return kOk;
  }
  absl::StatusOr<StagedFile> file = StagedFile::Create("--file", flags.file);
  if (!file.ok()) return file.status();
  absl::Status status =
      Write(session, flags, [&file](absl::string_view piece) { return file->Write(piece); });
  if (status.ok()) status = file->Commit();
  if (!status.ok()) return status;
  return kOk;
}

}  // namespace

void AddSitesExportCommand(Commands& commands, CLI::App& sites) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(
      sites,
      {.name = "export",
       .description = "A VM's whole ledger, to keep or to compare; also of one that has stopped or "
                      "failed",
       .formats = 0,
       .examples = "trapline sites export debian --file before.json\n"
                   "trapline sites export debian --format csv > sites.csv"},
      [flags](Session& session) { return Export(session, *flags); });
  AddVm(app, flags->vm);
  AddChoice(app, "--format", flags->format, "json|csv",
            "json: the VM, its sites and their transitions; csv: a row for each site")
      ->capture_default_str();
  app.add_option("--file", flags->file,
                 "Write there, once all of it is there (default: standard output)")
      ->type_name("FILE");
}

}  // namespace trapline::cli

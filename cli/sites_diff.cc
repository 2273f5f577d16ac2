// SPDX-License-Identifier: Apache-2.0
// `trapline sites diff`: two ledgers, of files or of VMs, side by side.
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/ledger_calls.h"
#include "cli/ledger_diff_text.h"
#include "cli/ledger_file.h"

namespace trapline::cli {
namespace {

struct Flags {
  std::string before, after;
  bool exit_code = false;
};

// A file where there is one, or where no VM could have that name.
bool NamesFile(const std::string& name) {
  std::error_code error;
  if (std::filesystem::exists(name, error)) return true;
  return !absl::StartsWith(name, "vms/") &&
         (absl::StrContains(name, "/") || absl::EndsWith(name, ".json"));
}

absl::StatusOr<LedgerSource> Take(Session& session, const std::string& name) {
  LedgerSource source{NamesFile(name), name, {}};
  absl::StatusOr<v1::SiteLedger> ledger =
      source.file ? ReadLedger(name) : GetLedger(session, ResourceName(name));
  if (!ledger.ok()) return ledger.status();
  source.ledger = *std::move(ledger);
  return source;
}

absl::StatusOr<int> Diff(Session& session, const Flags& flags) {
  const absl::StatusOr<LedgerSource> before = Take(session, flags.before);
  if (!before.ok()) return before.status();
  const absl::StatusOr<LedgerSource> after = Take(session, flags.after);
  if (!after.ok()) return after.status();
  const LedgerDiff diff = DiffLedgers(before->ledger, after->ledger);
  const Output& out = session.output();
  const absl::Status status = out.people() ? out.Text(DiffText(*before, *after, diff, out.colour()))
                                           : out.Document(DiffDocument(*before, *after, diff));
  if (!status.ok()) return status;
  return flags.exit_code && !diff.empty() ? kError : kOk;
}

}  // namespace

void AddSitesDiffCommand(Commands& commands, CLI::App& sites) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(
      sites,
      {.name = "diff",
       .description = "What differs between two ledgers: sites added, removed, and how they fared",
       .examples = "trapline sites diff before.json debian\n"
                   "trapline sites diff on-soft on-direct\n"
                   "trapline sites diff before.json after.json --exit-code -o json"},
      [flags](Session& session) { return Diff(session, *flags); });
  app.add_option("BEFORE", flags->before,
                 "A file of 'sites export', or a VM as it is now; a file where there is one")
      ->required()
      ->type_name("");
  app.add_option("AFTER", flags->after, "The same")->required()->type_name("");
  app.add_flag("--exit-code", flags->exit_code, "End with 1 where they differ");
}

}  // namespace trapline::cli

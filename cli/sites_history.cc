// SPDX-License-Identifier: Apache-2.0
// `trapline sites history`: what became of a VM's sites.
#include <memory>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/ledger_calls.h"
#include "cli/sites_target.h"
#include "cli/sites_text.h"

namespace trapline::cli {

void AddSitesHistoryCommand(Commands& commands, CLI::App& sites) {
  struct Flags : SitesTarget {
    uint64_t last = 0;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(
      sites,
      {.name = "history",
       .description = "What became of a VM's sites: found, rewritten, put back, and why; also of "
                      "one that has stopped or failed",
       .examples = "trapline sites history debian\n"
                   "trapline sites history debian 0x1e3f0a7\n"
                   "trapline sites history debian --last 20 -o json | jq '.transitions[].reason'"},
      [flags](Session& session) -> absl::StatusOr<int> {
        const auto all = ListTransitions(session, flags->name(), flags->last);
        if (!all.ok()) return all.status();
        const Output& out = session.output();
        const absl::Status status =
            out.people()
                ? out.Text(TransitionTable({all->transitions().begin(), all->transitions().end()},
                                           all->lost(), out.colour()))
                : out.Document(*all);
        if (!status.ok()) return status;
        return kOk;
      });
  AddVm(app, flags->vm);
  AddSite(app, *flags);
  app.add_option("-n,--last", flags->last, "Only the last N")
      ->type_name("N")
      ->check(CLI::Range(uint64_t{1}, uint64_t{INT32_MAX}).description(""));
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// `trapline sites top`: the busiest hypercall sites, as top shows processes.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/top/run_top.h"
#include "cli/top/terminal_screen.h"
#include "cli/vm_calls.h"
#include "cli/vm_text.h"

namespace trapline::cli {
namespace {

constexpr absl::Duration kLeastInterval = absl::Milliseconds(100);  // the API's

struct Flags {
  top::TopOptions options;
  bool all = false;
  std::string sort;
};

// That there is a daemon, and the VM: later the one that goes is waited for.
absl::Status Check(Session& session, const std::string& vm) {
  if (!vm.empty()) return GetVm(session, vm).status();
  v1::ListVmsRequest request;
  request.set_page_size(1);
  return session.Call(session.vms(), &v1::Vms::Stub::ListVms, request).status();
}

absl::StatusOr<int> Top(Session& session, Flags& flags) {
  top::TopOptions& options = flags.options;
  if (options.vm.empty() != flags.all)
    return UsageError("VM", "say which: a VM's name, or --all for those of the daemon");
  if (options.interval < kLeastInterval) return UsageError("--interval", "must be at least 100ms");
  const absl::StatusOr<top::SortBy> sort = top::SortOf(flags.sort);
  if (!sort.ok()) return UsageError("--sort", sort.status().message());
  options.listing.sort = *sort;
  if (const absl::Status status = Check(session, options.vm); !status.ok()) return status;
  const bool screen = session.output().people() && top::TerminalScreen::Possible();
  return screen ? top::RunOnScreen(session, options) : top::RunAsLines(session, options);
}

}  // namespace

void AddSitesTopCommand(Commands& commands, CLI::App& sites) {
  const auto flags = std::make_shared<Flags>();
  flags->sort = std::string(top::SortName(top::SortBy::kCalls));
  CLI::App& app = commands.Add(
      sites,
      {.name = "top",
       .description = "The busiest sites on a screen, live; elsewhere as lines. ? shows its keys",
       .formats = kStreamFormats,
       .examples = "trapline sites top debian\n"
                   "trapline sites top --all --sort traprate\n"
                   "trapline sites top debian --count 1 --rows 5 | cat\n"
                   "trapline sites top debian -o json | jq '.sites[0].callsPerSecond'"},
      [flags](Session& session) { return Top(session, *flags); });
  AddVm(app, flags->options.vm)->required(false);
  app.add_flag("--all", flags->all, "All VMs of the daemon, as they come and go");
  AddDuration(app, "--interval", flags->options.interval, "How often figures are new")
      ->default_str("1s");
  AddChoice(app, "--sort", flags->sort, top::SortNames(), "The column to sort by")
      ->capture_default_str();
  app.add_option("--filter", flags->options.listing.filter,
                 "Only sites with this in symbol, address, state, VM or a call's name")
      ->type_name("TEXT");
  app.add_option("--rows", flags->options.rows,
                 absl::StrCat("Sites at most; without it as many as there is room for, or ",
                              top::kLines, " as lines"))
      ->type_name("N");
  app.add_option("-n,--count", flags->options.count, "End after N updates")->type_name("N");
}

}  // namespace trapline::cli

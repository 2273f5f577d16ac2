// SPDX-License-Identifier: Apache-2.0
// `trapline sites ls|show|code|watch|set|revert|reset`: hypercall sites and the policy about them.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/ledger_calls.h"
#include "cli/site_code_text.h"
#include "cli/sites_target.h"
#include "cli/sites_text.h"
#include "cli/sites_watch.h"
#include "cli/vm_text.h"

namespace trapline::cli {
namespace {

absl::StatusOr<int> PrintSite(const Output& out, const v1::Site& site) {
  const absl::Status status =
      out.people() ? out.Text(SiteDetails(site, out.colour())) : out.Document(site);
  if (!status.ok()) return status;
  return kOk;
}

// Below the site, as the last part of it.
absl::StatusOr<int> PrintTransitions(Session& session, const std::string& site) {
  const auto all = ListTransitions(session, site);
  if (!all.ok()) return all.status();
  const Output& out = session.output();
  const absl::Status status = out.Text(
      absl::StrCat("\n", TransitionTable({all->transitions().begin(), all->transitions().end()},
                                         all->lost(), out.colour())));
  if (!status.ok()) return status;
  return kOk;
}

struct ListFlags {
  std::string vm;
  std::string filter;
  bool watch = false;
  absl::Duration interval = absl::Seconds(1);
};

absl::StatusOr<int> List(Session& session, const ListFlags& flags) {
  if (flags.watch) return WatchSites(session, flags.vm, flags.interval, WatchLook::kRedraw);
  const auto list = ListSites(session, flags.vm, flags.filter);
  if (!list.ok()) return list.status();
  const Output& out = session.output();
  absl::Status status;
  if (out.people()) {
    status = out.Text(SiteTable({list->sites().begin(), list->sites().end()}, out.colour()));
  } else if (out.format() == Format::kName) {
    std::string names;
    for (const v1::Site& site : list->sites())
      absl::StrAppend(&names, LastSegment(site.name()), "\n");
    status = out.Text(names);
  } else {
    status = out.Document(*list);
  }
  if (!status.ok()) return status;
  return kOk;
}

void AddList(Commands& commands, CLI::App& sites) {
  const auto flags = std::make_shared<ListFlags>();
  CLI::App& app = commands.Add(
      sites,
      {.name = "ls",
       .description = "A VM's hypercall sites; also of one that has stopped or failed",
       .formats = kListFormats,
       .examples = "trapline sites ls debian\n"
                   "trapline sites ls debian --watch\n"
                   "trapline sites ls debian -o json | jq '.sites[] | {symbol, state, traps}'"},
      [flags](Session& session) { return List(session, *flags); });
  AddVm(app, flags->vm);
  app.add_option("--filter", flags->filter, "Only those that match, as the API filters")
      ->type_name("FILTER");
  app.add_flag("-w,--watch", flags->watch, "Keep it up to date until Ctrl-C");
  AddDuration(app, "--interval", flags->interval, "With --watch: how often at most")
      ->default_str("1s");
}

void AddWatch(Commands& commands, CLI::App& sites) {
  const auto flags = std::make_shared<ListFlags>();
  CLI::App& app =
      commands.Add(sites,
                   {.name = "watch",
                    .description = "One line for each site that changes, until Ctrl-C",
                    .formats = kStreamFormats,
                    .examples = "trapline sites watch debian\n"
                                "trapline sites watch debian -o json | jq .sites[].traps"},
                   [flags](Session& session) {
                     return WatchSites(session, flags->vm, flags->interval, WatchLook::kLines);
                   });
  AddVm(app, flags->vm);
  AddDuration(app, "--interval", flags->interval, "How often at most")->default_str("1s");
}

void AddShow(Commands& commands, CLI::App& sites) {
  const auto target = std::make_shared<SitesTarget>();
  CLI::App& app = commands.Add(
      sites,
      {.name = "show",
       .description = "Everything about one site: its cycles as a histogram, what became of it",
       .examples = "trapline sites show debian 0x1e3f0a7"},
      [target](Session& session) -> absl::StatusOr<int> {
        v1::GetSiteRequest request;
        request.set_name(target->name());
        const auto site = session.Call(session.sites(), &v1::Sites::Stub::GetSite, request);
        if (!site.ok()) return site.status();
        absl::StatusOr<int> code = PrintSite(session.output(), *site);
        if (!code.ok() || !session.output().people()) return code;
        return PrintTransitions(session, site->name());
      });
  AddVm(app, target->vm);
  AddSite(app, *target)->required();
}

void AddCode(Commands& commands, CLI::App& sites) {
  struct Flags : SitesTarget {
    uint32_t before = 6, after = 6;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(
      sites,
      {.name = "code",
       .description = "The code around a site: as the guest wrote it, and as it is now",
       .examples = "trapline sites code debian 0x1e3f0a7\n"
                   "trapline sites code debian 0x1e3f0a7 --before 20 --after 20"},
      [flags](Session& session) -> absl::StatusOr<int> {
        v1::DisassembleSiteRequest request;
        request.set_name(flags->name());
        request.set_before(flags->before);
        request.set_after(flags->after);
        const auto code = session.Call(session.sites(), &v1::Sites::Stub::DisassembleSite, request);
        if (!code.ok()) return code.status();
        const Output& out = session.output();
        const absl::Status status =
            out.people() ? out.Text(SiteCodeText(*code, out.colour())) : out.Document(*code);
        if (!status.ok()) return status;
        return kOk;
      });
  AddVm(app, flags->vm);
  AddSite(app, *flags)->required();
  const auto in_range = CLI::Range(uint32_t{1}, uint32_t{100}).description("");
  app.add_option("--before", flags->before, "Instructions before it")
      ->type_name("N")
      ->check(in_range)
      ->capture_default_str();
  app.add_option("--after", flags->after, "Instructions behind it")
      ->type_name("N")
      ->check(in_range)
      ->capture_default_str();
}

void AddSet(Commands& commands, CLI::App& sites) {
  struct Flags : SitesTarget {
    PolicyFlags policy;
    bool inherit = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(
      sites,
      {.name = "set",
       .description = "Set the policy of a VM, or of one of its sites",
       .examples =
           "trapline sites set debian --technique interrupt\n"
           "trapline sites set debian 0x1e3f0a7 --technique emulate    (pins it)\n"
           "trapline sites set debian 0x1e3f0a7 --inherit              (as the VM's again)"},
      [flags](Session& session) -> absl::StatusOr<int> {
        if (flags->inherit == flags->policy.any()) {
          return UsageError(
              "--technique",
              "say what to set: --technique, --patch-after, --link-after, or --inherit");
        }
        if (flags->inherit && flags->site.empty())
          return UsageError("--inherit", "only a site can inherit");
        v1::SetPolicyRequest request;
        request.set_name(flags->name());
        if (!flags->inherit) *request.mutable_policy() = flags->policy.ToPolicy();
        const auto policy = session.Call(session.sites(), &v1::Sites::Stub::SetPolicy, request);
        if (!policy.ok()) return policy.status();
        const Output& out = session.output();
        const absl::Status status =
            out.people() ? out.Text(absl::StrCat(flags->name(), ": ", PolicyText(*policy), "\n"))
                         : out.Document(*policy);
        if (!status.ok()) return status;
        return kOk;
      });
  AddVm(app, flags->vm);
  AddSite(app, *flags);
  AddPolicyFlags(app, flags->policy);
  app.add_flag("--inherit", flags->inherit, "The site follows the VM's policy again");
}

void AddRevert(Commands& commands, CLI::App& sites) {
  const auto target = std::make_shared<SitesTarget>();
  CLI::App& app = commands.Add(
      sites,
      {.name = "revert",
       .description = "Put a site's original bytes back, while the guest runs",
       .examples = "trapline sites revert debian 0x1e3f0a7\n"
                   "for s in $(trapline sites ls debian -o name); do trapline sites revert debian "
                   "$s; done"},
      [target](Session& session) -> absl::StatusOr<int> {
        v1::RevertSiteRequest request;
        request.set_name(target->name());
        const auto site = session.Call(session.sites(), &v1::Sites::Stub::RevertSite, request);
        if (!site.ok()) return site.status();
        return PrintSite(session.output(), *site);
      });
  AddVm(app, target->vm);
  AddSite(app, *target)->required();
}

void AddReset(Commands& commands, CLI::App& sites) {
  const auto target = std::make_shared<SitesTarget>();
  CLI::App& app = commands.Add(
      sites,
      {.name = "reset",
       .description = "Set counters and histograms to zero: a site's, or all of a VM's",
       .formats = 0,
       .examples = "trapline sites reset debian\n"
                   "trapline sites reset debian 0x1e3f0a7"},
      [target](Session& session) -> absl::StatusOr<int> {
        v1::ResetSiteCountersRequest request;
        request.set_name(target->name());
        const auto totals =
            session.Call(session.sites(), &v1::Sites::Stub::ResetSiteCounters, request);
        if (!totals.ok()) return totals.status();
        return kOk;
      });
  AddVm(app, target->vm);
  AddSite(app, *target);
}

}  // namespace

void AddSitesCommands(Commands& commands) {
  CLI::App& sites =
      commands.AddGroup("sites", "Hypercall sites: what was found, rewritten, and what it cost");
  AddList(commands, sites);
  AddShow(commands, sites);
  AddCode(commands, sites);
  AddWatch(commands, sites);
  AddSitesTopCommand(commands, sites);
  AddSet(commands, sites);
  AddRevert(commands, sites);
  AddReset(commands, sites);
  AddSitesHistoryCommand(commands, sites);
  AddSitesExportCommand(commands, sites);
  AddSitesDiffCommand(commands, sites);
  AddSitesPlotCommand(commands, sites);
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// Which calls of a trace, and how they are shown.
#include "cli/trace_flags.h"

#include "absl/strings/str_cat.h"
#include "cli/status.h"
#include "cli/terminal.h"
#include "cli/trace/call_json.h"
#include "cli/trace/call_text.h"
#include "cli/trace/trace_filter.h"
#include "cli/trace/trace_summary.h"
#include "cli/units.h"
#include "cli/vm_text.h"

namespace trapline::cli {
namespace {

// A flag that may be repeated, and takes several at once.
template <typename Value>
void AddList(CLI::App& app, const std::string& flag, std::vector<Value>& values,
             const std::string& type, const std::string& description) {
  app.add_option(flag, values, description)
      ->type_name(type)
      ->delimiter(',')
      ->allow_extra_args(false);
}

}  // namespace

void AddTraceChoiceFlags(CLI::App& app, TraceChoiceFlags& flags) {
  AddList(app, "--nr", flags.numbers, "NAME,...", "Only these hypercalls, by name or number");
  AddList(app, "--site", flags.sites, "SITE,...",
          "Only these sites, by guest-physical address in hexadecimal or by symbol; a symbol with "
          "no '+0x12' is all of its function's");
  AddList(app, "--vcpu", flags.vcpus, "N,...", "Only these virtual CPUs");
  AddList(app, "--cpl", flags.cpls, "N,...", "Only from these privilege levels");
  AddChoices(app, "--path", flags.paths, "trap|interrupt|linked",
             "Only those that came in this way");
  app.add_option_function<std::string>(
         "--slower-than",
         [&flags](const std::string& text) {
           const absl::StatusOr<LeastCycles> least = ParseLeastCycles(text);
           if (!least.ok())
             throw CLI::ValidationError("--slower-than", std::string(least.status().message()));
           flags.slower_than = *least;
         },
         "Only those that took at least so many cycles, or so long (5us)")
      ->type_name("CYCLES");
  app.add_flag("--failed", flags.failed, "Only those that returned an error");
  app.add_option("--sample", flags.sample, "One in N of those that match")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(uint32_t{1}, UINT32_MAX).description(""));
  app.add_option("-n,--count", flags.count, "End after N hypercalls")->type_name("N");
}

absl::StatusOr<TraceChoice> ChoiceOf(const TraceChoiceFlags& flags, uint64_t cycles_per_second) {
  TraceChoice choice;
  choice.filter.mutable_vcpus()->Add(flags.vcpus.begin(), flags.vcpus.end());
  choice.filter.mutable_cpls()->Add(flags.cpls.begin(), flags.cpls.end());
  for (const std::string& text : flags.numbers) {
    const absl::StatusOr<uint64_t> number = HypercallNumber(text);
    if (!number.ok()) return UsageError("--nr", number.status().message());
    choice.filter.add_numbers(*number);
  }
  for (const std::string& text : flags.sites) {
    uint64_t gpa = 0;
    if (ParseSiteAddress(text, gpa)) {
      choice.filter.add_sites(gpa);
    } else {
      choice.symbols.push_back(text);
    }
  }
  for (const std::string& path : flags.paths)
    choice.filter.add_paths(TechniqueOf(path == "trap" ? "emulate" : path));
  const absl::StatusOr<uint64_t> least = flags.slower_than.At(cycles_per_second);
  if (!least.ok()) return UsageError("--slower-than", least.status().message());
  choice.filter.set_min_cycles(*least);
  choice.filter.set_failed(flags.failed);
  return choice;
}

void AddTraceLookFlags(CLI::App& app, TraceLookFlags& flags) {
  AddChoice(app, "-t,--time", flags.time, "guest|clock|none",
            "What a line begins with: guest time in seconds, the time of day, or neither")
      ->capture_default_str();
  CLI::Option* summary =
      app.add_flag("-c,--summary", flags.summary, "No lines, but a table at the end");
  AddChoice(app, "--sort", flags.sort, kSummaryOrders, "With -c: the largest of these first")
      ->capture_default_str()
      ->needs(summary);
}

std::unique_ptr<TraceSink> SinkFor(const TraceLookFlags& flags, const Output& out,
                                   uint32_t sample) {
  if (flags.summary) {
    return std::make_unique<TraceSummary>(TraceSummary::Look{.order = SummaryOrderOf(flags.sort),
                                                             .json = !out.people(),
                                                             .colour = out.colour(),
                                                             .sample = sample});
  }
  if (!out.people()) return std::make_unique<CallJson>();
  const TraceClock clock = flags.time == "guest"   ? TraceClock::kGuest
                           : flags.time == "clock" ? TraceClock::kWall
                                                   : TraceClock::kNone;
  return std::make_unique<CallText>(clock, out.colour());
}

void SayCounts(uint64_t shown, uint64_t dropped) {
  Say(absl::StrCat(Grouped(shown), " hypercalls shown, ", Grouped(dropped), " dropped"));
}

}  // namespace trapline::cli

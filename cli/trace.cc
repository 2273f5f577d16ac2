// SPDX-License-Identifier: Apache-2.0
// `trapline trace`: a guest's hypercalls as they happen, as strace shows system calls.
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/command.h"
#include "cli/stream.h"
#include "cli/trace_text.h"
#include "cli/units.h"
#include "cli/vm_calls.h"
#include "cli/vm_text.h"

namespace trapline::cli {
namespace {

struct Flags {
  std::string vm;
  std::vector<uint32_t> vcpus;
  std::vector<std::string> calls;
  std::vector<std::string> sites;
  std::vector<uint32_t> cpls;
  std::vector<std::string> paths;
  uint64_t min_cycles = 0;
  bool failed = false;
  uint32_t sample = 1;
  uint64_t count = 0;
  bool times = false;
};

absl::StatusOr<v1::TraceFilter> FilterOf(const Flags& flags) {
  v1::TraceFilter filter;
  filter.mutable_vcpus()->Add(flags.vcpus.begin(), flags.vcpus.end());
  filter.mutable_cpls()->Add(flags.cpls.begin(), flags.cpls.end());
  for (const std::string& call : flags.calls) {
    const absl::StatusOr<uint64_t> number = HypercallNumber(call);
    if (!number.ok()) return UsageError("--call", number.status().message());
    filter.add_numbers(*number);
  }
  for (const std::string& site : flags.sites) {
    const absl::StatusOr<uint64_t> gpa = ParseNumber(site);
    if (!gpa.ok()) return UsageError("--site", gpa.status().message());
    filter.add_sites(*gpa);
  }
  for (const std::string& path : flags.paths)
    filter.add_paths(TechniqueOf(path == "trap" ? "emulate" : path));
  filter.set_min_cycles(flags.min_cycles);
  filter.set_failed(flags.failed);
  return filter;
}

// What a trace has seen, and how it is shown.
class Tracer {
 public:
  Tracer(const Output& out, const Flags& flags) : out_(out), flags_(flags) {}

  // True to go on.
  absl::StatusOr<bool> Take(const v1::StreamHypercallsResponse& response) {
    dropped_ = response.dropped();
    std::string lines;
    for (const v1::TraceRecord& record : response.records()) {
      if (Enough()) break;
      ++shown_;
      absl::StrAppend(&lines, out_.people() ? TraceLine(record, flags_.times, out_.colour())
                                            : ToJson(record, false));
    }
    const absl::Status status = out_.Text(lines);
    if (!status.ok()) return status;
    return !Enough();
  }

  // The counts go to standard error, so that what is piped on is records alone.
  void Summarise() const {
    Say(absl::StrCat(Grouped(shown_), " hypercalls shown, ", Grouped(dropped_), " dropped"));
  }

 private:
  bool Enough() const { return flags_.count != 0 && shown_ >= flags_.count; }

  const Output& out_;
  const Flags& flags_;
  uint64_t shown_ = 0;
  uint64_t dropped_ = 0;
};

absl::StatusOr<int> Trace(Session& session, const Flags& flags) {
  const absl::StatusOr<v1::TraceFilter> filter = FilterOf(flags);
  if (!filter.ok()) return filter.status();
  const absl::StatusOr<v1::Vm> vm = GetVm(session, flags.vm);
  if (!vm.ok()) return vm.status();
  v1::StreamHypercallsRequest request;
  request.set_parent(flags.vm);
  *request.mutable_filter() = *filter;
  request.set_sample(flags.sample);
  Tracer tracer(session.output(), flags);
  absl::StatusOr<int> code = ReadStream<v1::StreamHypercallsResponse>(
      session,
      [&](grpc::ClientContext* context) {
        return session.traces().StreamHypercalls(context, request);
      },
      [&](const v1::StreamHypercallsResponse& response) { return tracer.Take(response); },
      [&] { Say(absl::StrCat("tracing ", LastSegment(flags.vm), "; Ctrl-C ends")); });
  if (code.ok()) tracer.Summarise();
  return code;
}

}  // namespace

void AddTraceCommand(Commands& commands) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(
      commands.root(),
      {.name = "trace",
       .description =
           "A guest's hypercalls as they happen, one line each; at the end, how many were dropped",
       .formats = kStreamFormats,
       .examples = "trapline trace debian\n"
                   "trapline trace debian --vcpu 2 --call send_ipi\n"
                   "trapline trace debian --path trap --min-cycles 10000 --count 20\n"
                   "trapline trace debian -o json | jq -c '{symbol, cycles}'"},
      [flags](Session& session) { return Trace(session, *flags); });
  AddVm(app, flags->vm);
  app.add_option("--vcpu", flags->vcpus, "Only these virtual CPUs")
      ->type_name("N,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--call", flags->calls, "Only these hypercalls, by name or number")
      ->type_name("NAME,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--site", flags->sites, "Only these sites, by guest-physical address")
      ->type_name("GPA,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--cpl", flags->cpls, "Only from these privilege levels")
      ->type_name("N,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  AddChoices(app, "--path", flags->paths, "trap|interrupt|linked",
             "Only those that came in this way");
  AddNumber(app, "--min-cycles", flags->min_cycles, "Only those that took at least this long");
  app.add_flag("--failed", flags->failed, "Only those that returned an error");
  app.add_option("--sample", flags->sample, "One in N of those that match")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(uint32_t{1}, UINT32_MAX).description(""));
  app.add_option("-n,--count", flags->count, "End after N hypercalls")->type_name("N");
  app.add_flag("-t,--times", flags->times, "Begin each line with the guest's time");
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// `trapline trace`: a guest's hypercalls as they happen, as strace shows system calls.
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/ledger_calls.h"
#include "cli/names.h"
#include "cli/status.h"
#include "cli/stream.h"
#include "cli/trace/trace_feed.h"
#include "cli/trace/trace_filter.h"
#include "cli/trace/trace_recording.h"
#include "cli/trace_flags.h"
#include "cli/units.h"
#include "cli/vm_calls.h"
#include "google/protobuf/util/time_util.h"

namespace trapline::cli {
namespace {

struct Flags {
  std::string vm;
  TraceChoiceFlags choice;
  TraceLookFlags look;
  uint32_t last = 0;
  bool follow = false;
  std::string file;

  // What is on record is all that was asked for.
  bool only_last() const { return last != 0 && !follow; }
  uint64_t limit() const {
    const uint64_t recorded = only_last() ? last : UINT64_MAX;
    const uint64_t least = choice.count == 0 ? recorded : std::min(recorded, choice.count);
    return least == UINT64_MAX ? 0 : least;
  }
};

// Adds the sites whose symbols were given; they have to be known by now.
absl::Status AddSites(Session& session, const std::string& vm, const TraceChoice& choice,
                      v1::TraceFilter& filter) {
  if (choice.symbols.empty()) return absl::OkStatus();
  const auto sites = ListSites(session, vm, "");
  if (!sites.ok()) return sites.status();
  for (const std::string& wanted : choice.symbols) {
    const int before = filter.sites_size();
    for (const v1::Site& site : sites->sites()) {
      if (SymbolMatches(site.symbol(), wanted)) filter.add_sites(site.gpa());
    }
    if (filter.sites_size() == before) {
      return WithHint(
          absl::NotFoundError(
              absl::StrCat(vm, " has no site whose symbol is '", wanted, "', or not yet")),
          absl::StrCat("'trapline sites ls ", LastSegment(vm), "' lists the sites there are"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::StreamHypercallsRequest> RequestFor(Session& session, const Flags& flags,
                                                       uint64_t cycles_per_second) {
  const absl::StatusOr<TraceChoice> choice = ChoiceOf(flags.choice, cycles_per_second);
  if (!choice.ok()) return choice.status();
  v1::StreamHypercallsRequest request;
  request.set_parent(flags.vm);
  *request.mutable_filter() = choice->filter;
  request.set_sample(flags.choice.sample);
  request.set_last(flags.last);
  request.set_follow(flags.follow);
  request.set_encoding(v1::TRACE_ENCODING_PACKED);
  const absl::Status status = AddSites(session, flags.vm, *choice, *request.mutable_filter());
  if (!status.ok()) return status;
  return request;
}

absl::StatusOr<uint64_t> CyclesPerSecond(Session& session) {
  const auto host =
      session.Call(session.host(), &v1::Host::Stub::GetHostInfo, v1::GetHostInfoRequest());
  if (!host.ok()) return host.status();
  return host->cycles_per_second();
}

// What to do about a VM that is over.
absl::StatusOr<int> Explained(absl::StatusOr<int> code) {
  if (code.ok() || ErrorInfoOf(code.status()).reason() != "VM_WRONG_STATE") return code;
  return WithHint(code.status(),
                  "--last 50 shows the last calls on record, --follow waits for its next start");
}

// `take` says whether to go on.
template <typename Take>
absl::StatusOr<int> Stream(Session& session, const Flags& flags,
                           const v1::StreamHypercallsRequest& request, Take take) {
  return Explained(ReadStream<v1::StreamHypercallsResponse>(
      session,
      [&](grpc::ClientContext* context) {
        return session.traces().StreamHypercalls(context, request);
      },
      [&](const v1::StreamHypercallsResponse& response) -> absl::StatusOr<bool> {
        const absl::StatusOr<bool> go_on = take(response);
        if (!go_on.ok()) return go_on;
        return *go_on && (response.more() || !flags.only_last());
      },
      [&] {
        if (!flags.only_last())
          Say(absl::StrCat("tracing ", LastSegment(flags.vm), "; Ctrl-C ends"));
      }));
}

absl::StatusOr<int> Show(Session& session, const Flags& flags,
                         const v1::StreamHypercallsRequest& request) {
  const Output& out = session.output();
  const std::unique_ptr<TraceSink> sink = SinkFor(flags.look, out, flags.choice.sample);
  TraceFeed feed({.limit = flags.limit()}, *sink);
  std::string text;
  sink->Begin(text);
  absl::StatusOr<int> code =
      Stream(session, flags, request,
             [&](const v1::StreamHypercallsResponse& response) -> absl::StatusOr<bool> {
               const absl::StatusOr<bool> go_on = feed.Take(response, text);
               if (!go_on.ok()) return go_on;
               const absl::Status status = out.Text(text);
               if (!status.ok()) return status;
               text.clear();
               return *go_on;
             });
  // A summary is worth having of what was seen until something went wrong, too.
  if (code.ok() || feed.shown() > 0) {
    sink->End(text);
    const absl::Status status = out.Text(text);
    if (code.ok() && !status.ok()) return status;
  }
  if (code.ok() && !flags.look.summary) SayCounts(feed.shown(), feed.dropped());
  return code;
}

absl::StatusOr<int> Record(Session& session, const Flags& flags, const v1::Vm& vm,
                           uint64_t cycles_per_second, const v1::StreamHypercallsRequest& request) {
  v1::TraceFileEntry::Header header;
  header.set_vm(flags.vm);
  *header.mutable_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(absl::Now()));
  header.set_engine(EngineName(vm.engine()));
  header.set_cycles_per_second(cycles_per_second);
  auto file = TraceFileWriter::Create(flags.file, std::move(header));
  if (!file.ok()) return file.status();
  TraceRecording recording(*std::move(file), flags.limit(), isatty(STDERR_FILENO) == 1);
  const absl::StatusOr<int> code = Stream(
      session, flags, request,
      [&](const v1::StreamHypercallsResponse& response) { return recording.Take(response); });
  const absl::Status closed = recording.Close();
  Say(absl::StrCat(flags.file, ": ", recording.Text()));
  if (code.ok() && !closed.ok()) return closed;
  return code;
}

absl::StatusOr<int> Trace(Session& session, const Flags& flags) {
  if (flags.vm.empty()) return UsageError("VM", "is missing: which VM is to be traced");
  Format format;
  if (ParseFormat(flags.file, kListFormats, format).ok()) {
    return UsageError("--output", absl::StrCat("is the file to write; -o ", flags.file,
                                               " prints that, ./", flags.file, " is a file"));
  }
  const absl::StatusOr<v1::Vm> vm = GetVm(session, flags.vm);
  if (!vm.ok()) return vm.status();
  absl::StatusOr<uint64_t> cycles_per_second = 0;
  if (flags.choice.slower_than.is_time() || !flags.file.empty())
    cycles_per_second = CyclesPerSecond(session);
  if (!cycles_per_second.ok()) return cycles_per_second.status();
  const auto request = RequestFor(session, flags, *cycles_per_second);
  if (!request.ok()) return request.status();
  return flags.file.empty() ? Show(session, flags, *request)
                            : Record(session, flags, *vm, *cycles_per_second, *request);
}

void AddFileFlag(CLI::App& app, std::string& file) {
  CLI::Option* output =
      app.add_option("--output", file,
                     "Write them to a file and show nothing; 'trapline trace read' shows it")
          ->type_name("FILE");
  for (const char* flag : {"-o", "--summary", "--time"}) output->excludes(app.get_option(flag));
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
       .format_flag = "-o",
       .examples = "trapline trace debian\n"
                   "trapline trace debian --vcpu 2 --nr send_ipi --site kvm_send_ipi_mask\n"
                   "trapline trace debian --path trap --slower-than 10us --count 20\n"
                   "trapline trace debian -c                      (until Ctrl-C, then a table)\n"
                   "trapline trace debian --last 50               (also of a VM that is over)\n"
                   "trapline trace debian --output debian.trace\n"
                   "trapline trace debian -o json | jq -c '{symbol, cycles}'"},
      [flags](Session& session) { return Trace(session, *flags); });
  AddVm(app, flags->vm)->required(false);
  AddTraceChoiceFlags(app, flags->choice);
  AddTraceLookFlags(app, flags->look);
  app.add_option("--last", flags->last,
                 "The last N on record, and that is all; with --follow it goes on behind them")
      ->type_name("N")
      ->check(CLI::Range(uint32_t{1}, UINT32_MAX).description(""));
  app.add_flag("--follow", flags->follow,
               "Go on when the VM ends and is started again, or is not started yet");
  AddFileFlag(app, flags->file);
  AddTraceFileCommands(commands, app);
}

}  // namespace trapline::cli

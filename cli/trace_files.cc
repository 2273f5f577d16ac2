// SPDX-License-Identifier: Apache-2.0
// `trapline trace read|export`: a trace in a file, with no daemon behind it.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "cli/trace/trace_events.h"
#include "cli/trace/trace_feed.h"
#include "cli/trace/trace_file.h"
#include "cli/trace_flags.h"
#include "cli/units.h"
#include "core/base/unique_fd.h"

namespace trapline::cli {
namespace {

struct Flags {
  std::string file;
  TraceChoiceFlags choice;
  TraceLookFlags look;
  std::string to;
};

void AddFile(CLI::App& app, std::string& file) {
  app.add_option("FILE", file, "What 'trapline trace VM --output FILE' wrote")
      ->required()
      ->type_name("FILE");
}

struct OpenTrace {
  std::unique_ptr<TraceFileReader> reader;
  v1::TraceFileEntry::Header header;
};

absl::StatusOr<OpenTrace> Open(const std::string& path) {
  auto reader = TraceFileReader::Open(path);
  if (!reader.ok()) return reader.status();
  const auto header = (*reader)->ReadHeader();
  if (!header.ok()) return header.status();
  return OpenTrace{*std::move(reader), *header};
}

absl::StatusOr<TraceFeed::Choice> FeedChoice(const TraceChoiceFlags& flags,
                                             const v1::TraceFileEntry::Header& header) {
  absl::StatusOr<TraceChoice> choice = ChoiceOf(flags, header.cycles_per_second());
  if (!choice.ok()) return choice.status();
  return TraceFeed::Choice{
      .filter = TraceFilter(std::move(choice->filter), std::move(choice->symbols)),
      .sample = flags.sample,
      .limit = flags.count};
}

absl::StatusOr<int> Read(Session& session, const Flags& flags) {
  absl::StatusOr<OpenTrace> trace = Open(flags.file);
  if (!trace.ok()) return trace.status();
  absl::StatusOr<TraceFeed::Choice> choice = FeedChoice(flags.choice, trace->header);
  if (!choice.ok()) return choice.status();
  const Output& out = session.output();
  const std::unique_ptr<TraceSink> sink = SinkFor(flags.look, out, flags.choice.sample);
  TraceFeed feed(*std::move(choice), *sink);
  const absl::Status status = FeedFile(*trace->reader, feed, *sink,
                                       [&out](absl::string_view text) { return out.Text(text); });
  if (!status.ok()) return status;
  if (!flags.look.summary) SayCounts(feed.shown(), feed.dropped());
  return kOk;
}

absl::StatusOr<int> Export(Session&, const Flags& flags) {
  absl::StatusOr<OpenTrace> trace = Open(flags.file);
  if (!trace.ok()) return trace.status();
  if (trace->header.cycles_per_second() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        flags.file, " does not say how many cycles a second has, so times cannot be told"));
  }
  absl::StatusOr<TraceFeed::Choice> choice = FeedChoice(flags.choice, trace->header);
  if (!choice.ok()) return choice.status();
  base::UniqueFd file;
  if (!flags.to.empty()) {
    file.Reset(open(flags.to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!file.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", flags.to));
  }
  const int fd = file.valid() ? file.get() : STDOUT_FILENO;
  TraceEvents events(trace->header);
  TraceFeed feed(*std::move(choice), events);
  const absl::Status status = FeedFile(*trace->reader, feed, events, [&](absl::string_view text) {
    return WriteAll(fd, text, file.valid() ? absl::string_view(flags.to) : "standard output");
  });
  if (!status.ok()) return status;
  SayCounts(feed.shown(), feed.dropped());
  return kOk;
}

// What `trace VM` takes means nothing here.
void Exclude(CLI::App& app, const CLI::App& trace) {
  for (const CLI::Option* option : trace.get_options()) {
    if (option != trace.get_help_ptr()) app.excludes(const_cast<CLI::Option*>(option));
  }
}

}  // namespace

void AddTraceFileCommands(Commands& commands, CLI::App& trace) {
  const auto read = std::make_shared<Flags>();
  CLI::App& read_app = commands.Add(
      trace,
      {.name = "read",
       .description = "Show a trace that was written to a file; needs no daemon",
       .formats = kStreamFormats,
       .examples = "trapline trace read debian.trace --nr send_ipi --slower-than 5us\n"
                   "trapline trace read debian.trace -c --sort avg\n"
                   "trapline trace read debian.trace -o json | jq -c '{symbol, cycles}'",
       .remote = false},
      [read](Session& session) { return Read(session, *read); });
  AddFile(read_app, read->file);
  AddTraceChoiceFlags(read_app, read->choice);
  AddTraceLookFlags(read_app, read->look);
  Exclude(read_app, trace);

  const auto exported = std::make_shared<Flags>();
  CLI::App& export_app = commands.Add(
      trace,
      {.name = "export",
       .description = "Turn a trace in a file into JSON that Perfetto (ui.perfetto.dev) and "
                      "about:tracing show: a row for each vCPU, a slice for each hypercall",
       .formats = 0,
       .examples = "trapline trace export debian.trace --to debian.json\n"
                   "trapline trace export debian.trace --slower-than 10us > slow.json",
       .remote = false},
      [exported](Session& session) { return Export(session, *exported); });
  AddFile(export_app, exported->file);
  export_app.add_option("--to", exported->to, "Where to; standard output if not said")
      ->type_name("FILE");
  AddTraceChoiceFlags(export_app, exported->choice);
  Exclude(export_app, trace);
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// `trapline sites plot`: records a VM's sites for a while and draws what happened.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/ledger_calls.h"
#include "cli/names.h"
#include "cli/sites_plot.h"
#include "cli/staged_file.h"
#include "cli/terminal.h"
#include "cli/vm_calls.h"
#include "google/protobuf/util/time_util.h"

namespace trapline::cli {
namespace {

struct Flags {
  std::string vm;
  std::string file;
  absl::Duration length = absl::Seconds(10);
  absl::Duration interval = absl::Milliseconds(250);
};

// How far the recording is, on one line that is written over; nothing where standard error is no
// terminal.
class Progress {
 public:
  Progress(std::string what, absl::Duration length)
      : what_(std::move(what)), length_(length), shown_(isatty(STDERR_FILENO) == 1) {}
  ~Progress() {
    if (shown_) (void)WriteAll(STDERR_FILENO, "\r\033[K");
  }
  void Show(absl::Duration passed, uint64_t samples) const {
    if (!shown_) return;
    (void)WriteAll(STDERR_FILENO, absl::StrCat("\r\033[K", what_, " ", absl::ToInt64Seconds(passed),
                                               " of ", absl::FormatDuration(length_), ", ", samples,
                                               " samples; Ctrl-C draws what there is"));
  }

 private:
  const std::string what_;
  const absl::Duration length_;
  const bool shown_;
};

// Watches for that long, or until Ctrl-C or the end of the watch.
absl::StatusOr<SitesRecorder> Record(Session& session, const Flags& flags, absl::Time began) {
  v1::WatchSitesRequest request;
  request.set_parent(flags.vm);
  *request.mutable_interval() = google::protobuf::util::TimeUtil::NanosecondsToDuration(
      absl::ToInt64Nanoseconds(flags.interval));
  const std::unique_ptr<grpc::ClientContext> context = session.Context(Patience::kEndless);
  context->set_deadline(std::min(context->deadline(), absl::ToChronoTime(began + flags.length)));
  const Interrupts::Guard guard(session.interrupts(), [&context] { context->TryCancel(); });
  const auto reader = session.sites().WatchSites(context.get(), request);
  const Progress progress(absl::StrCat("recording ", LastSegment(flags.vm)), flags.length);
  SitesRecorder recorder;
  v1::WatchSitesResponse response;
  while (reader->Read(&response)) {
    const absl::Duration passed = absl::Now() - began;
    recorder.Take(response, absl::ToDoubleSeconds(passed));
    progress.Show(passed, recorder.samples().size());
  }
  const grpc::Status status = reader->Finish();
  const bool time_is_over = status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED &&
                            absl::Now() >= began + flags.length;
  if (status.ok() || time_is_over || session.interrupts().interrupted()) return recorder;
  return session.Explain(status);
}

absl::StatusOr<int> Plot(Session& session, const Flags& flags) {
  const absl::StatusOr<v1::Vm> vm = GetVm(session, flags.vm);
  if (!vm.ok()) return vm.status();
  absl::StatusOr<StagedFile> file = StagedFile::Create("--output", flags.file);
  if (!file.ok()) return file.status();
  const absl::Time began = absl::Now();
  const absl::StatusOr<SitesRecorder> recorder = Record(session, flags, began);
  if (!recorder.ok()) return recorder.status();
  std::vector<v1::SiteTransition> transitions;
  const auto lost = EachTransition(session, flags.vm, [&](const v1::SiteTransition& transition) {
    if (ToAbsl(transition.time()) >= began) transitions.push_back(transition);
    return absl::OkStatus();
  });
  if (!lost.ok()) return lost.status();
  SitesRecording recording{
      LastSegment(flags.vm), EngineName(vm->engine()), recorder->samples(), {}, recorder->sites()};
  recording.marks = MarksOf(transitions, began);
  absl::Status status = file->Write(RenderSitesPlot(recording));
  if (status.ok()) status = file->Commit();
  if (!status.ok()) return status;
  Say(absl::StrCat(flags.file, ": ", recording.samples.size(), " samples of ",
                   recording.sites.size(), " sites"));
  return kOk;
}

}  // namespace

void AddSitesPlotCommand(Commands& commands, CLI::App& sites) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(
      sites,
      {.name = "plot",
       .description = "Record a VM's sites and draw them: calls a second by technique, and what a "
                      "call cost before and after each patch",
       .formats = 0,
       .examples = "trapline sites plot debian -o sites.svg\n"
                   "trapline sites plot debian -o sites.svg --for 1m --interval 1s"},
      [flags](Session& session) { return Plot(session, *flags); });
  AddVm(app, flags->vm);
  app.add_option("-o,--output", flags->file, "The picture, as SVG")->type_name("FILE")->required();
  AddDuration(app, "--for", flags->length, "How long to record; Ctrl-C ends it early")
      ->default_str("10s");
  AddDuration(app, "--interval", flags->interval, "How often to look (at least 100ms)")
      ->default_str("250ms");
}

}  // namespace trapline::cli

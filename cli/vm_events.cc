// SPDX-License-Identifier: Apache-2.0
// `trapline vm events`: what happens to VMs, as it happens.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/command.h"
#include "cli/stream.h"
#include "cli/vm_text.h"

namespace trapline::cli {
namespace {

struct Flags {
  std::string vm;
  std::string resume_token;
  bool initial_state = false;
  uint64_t count = 0;
};

std::string EventLine(const v1::VmEvent& event, bool colour) {
  const Cell state = StateCell(event.state());
  std::string line =
      absl::StrFormat("%s  %-20s %-18s %s", TimeText(event.time()), LastSegment(event.vm()),
                      EventKindName(event.kind()), Paint(state.text, state.colour, colour));
  if (!event.reason().empty()) absl::StrAppend(&line, "  ", Printable(event.reason()));
  return absl::StrCat(line, "\n");
}

absl::Status Print(const Output& out, const v1::WatchVmEventsResponse& response) {
  if (!out.people()) return out.JsonLine(response);
  if (response.missed() > 0) {
    return out.Text(absl::StrCat("(", response.missed(), " events were missed)\n"));
  }
  return response.has_event() ? out.Text(EventLine(response.event(), out.colour()))
                              : absl::OkStatus();
}

absl::StatusOr<int> Watch(Session& session, const Flags& flags) {
  v1::WatchVmEventsRequest request;
  request.set_name(flags.vm);
  request.set_resume_token(flags.resume_token);
  request.set_initial_state(flags.initial_state);
  uint64_t seen = 0;
  return ReadStream<v1::WatchVmEventsResponse>(
      session,
      [&](grpc::ClientContext* context) { return session.vms().WatchVmEvents(context, request); },
      [&](const v1::WatchVmEventsResponse& response) -> absl::StatusOr<bool> {
        const absl::Status status = Print(session.output(), response);
        if (!status.ok()) return status;
        if (response.has_event()) ++seen;
        return flags.count == 0 || seen < flags.count;
      });
}

}  // namespace

void AddVmEventsCommand(Commands& commands, CLI::App& vm) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& app = commands.Add(
      vm,
      {.name = "events",
       .description = "Follow what happens to VMs: starts, stops, resets, failures",
       .formats = kStreamFormats,
       .examples = "trapline vm events\n"
                   "trapline vm events debian --initial -o json\n"
                   "trapline vm events --resume TOKEN     (a token is in every JSON line)"},
      [flags](Session& session) { return Watch(session, *flags); });
  AddVm(app, flags->vm)->required(false);
  app.add_flag("--initial", flags->initial_state, "First the state of each VM as it is now");
  app.add_option("--resume", flags->resume_token, "Go on after the event with this token")
      ->type_name("TOKEN");
  app.add_option("-n,--count", flags->count, "End after this many events")->type_name("N");
}

}  // namespace trapline::cli

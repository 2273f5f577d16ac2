// SPDX-License-Identifier: Apache-2.0
// trapline: the command line of Trapline. Parses, runs the one command chosen, and says how it
// ended.
#include <unistd.h>

#include <csignal>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/interrupts.h"
#include "cli/session.h"
#include "cli/status.h"
#include "cli/terminal.h"

namespace trapline::cli {
namespace {

// What a shell reports for a process that SIGPIPE ended: the reader of our output has gone, and
// nobody is to be told.
constexpr int kReaderGone = 128 + SIGPIPE;

constexpr absl::string_view kFooter = R"(
Exit codes:
  0 ok   1 error   2 usage   3 not found   4 wrong state   5 daemon unavailable
  6 denied   7 timeout; 'trapline run' ends with the guest's own exit status

Environment:
  TRAPLINE_HOST    the daemon, as for --host
  TRAPLINE_CONFIG  where contexts are kept, in place of ~/.config/trapline/config.toml
  NO_COLOR         no colour, even on a terminal

Examples:
  trapline run vmlinuz --initrd initramfs.gz --append 'console=ttyS0' --vcpus 4 --memory 512M
  trapline vm ls
  trapline sites ls debian --watch
  trapline trace debian --slower-than 10us
'trapline COMMAND --help' says more about each command.)";

// Whether errors go out as JSON; asked before parsing is known to succeed.
bool WantsJson(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument(argv[i]);
    const bool next_is_json = i + 1 < argc && absl::string_view(argv[i + 1]) == "json";
    if ((argument == "-o" || argument == "--output") && next_is_json) return true;
    if (argument == "-ojson" || argument == "--output=json" || argument == "-o=json") return true;
  }
  return false;
}

int Fail(const absl::Status& status, bool json) {
  const std::string text =
      json ? absl::StrCat(StatusAsJson(status), "\n")
           : absl::StrCat(Paint("trapline:", Colour::kRed, UsesColour(STDERR_FILENO)), " ",
                          DescribeStatus(status), "\n");
  (void)WriteAll(STDERR_FILENO, text);
  return ExitCodeFor(status);
}

// CLI11 leaves a blank line too many between groups, and none or several at the end.
std::string HelpText(const CLI::App& root) {
  std::string text = absl::StrReplaceAll(root.help(), {{"\n\n\n", "\n\n"}});
  absl::StripTrailingAsciiWhitespace(&text);
  return text + "\n";
}

// How far a command line was understood.
struct Understood {
  const CLI::App* app;
  std::string path;  // "trapline vm create"
};

Understood UnderstoodPart(const CLI::App& root) {
  Understood part{&root, "trapline"};
  while (!part.app->get_subcommands().empty()) {
    part.app = part.app->get_subcommands().front();
    absl::StrAppend(&part.path, " ", part.app->get_name());
  }
  return part;
}

// CLI11 lists what it did not take from the end, and not what it takes it for.
std::string WhatIsWrong(const CLI::ParseError& error, const CLI::App& root,
                        const Understood& part) {
  const std::vector<std::string> left = root.remaining(true);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr || left.empty()) return error.what();
  const std::string& first = left.front();
  if (absl::StartsWith(first, "-")) return absl::StrCat("'", part.path, "' has no option ", first);
  const bool group = !part.app->get_subcommands([](const CLI::App*) { return true; }).empty();
  return group ? absl::StrCat("'", part.path, "' has no command '", first, "'")
               : absl::StrCat("'", part.path, "' takes no argument '", first, "' here");
}

void AddEverything(Commands& commands) {
  AddRunCommand(commands);
  AddVmCommands(commands);
  AddSitesCommands(commands);
  AddTraceCommand(commands);
  AddHostCommand(commands);
  AddBenchCommands(commands);
  AddContextCommands(commands);
  AddCompletionCommand(commands);
  AddVersionCommand(commands);
}

int Run(int argc, char** argv) {
  Interrupts interrupts;  // before any other thread
  std::signal(
      SIGPIPE,
      SIG_IGN);  // a reader that goes away is an error to handle, not the end of `run`'s clean-up
  CLI::App root(
      "Runs guests on traplined and shows how their hypercall sites are trapped and patched.",
      "trapline");
  root.require_subcommand(0, 1);
  root.get_formatter()->column_width(34);
  Commands commands(root);
  AddEverything(commands);
  root.footer(std::string(kFooter));
  const bool json = WantsJson(argc, argv);
  try {
    root.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return WriteAll(STDOUT_FILENO, HelpText(root)).ok() ? kOk : kReaderGone;
  } catch (const CLI::ParseError& error) {
    const Understood part = UnderstoodPart(root);
    return Fail(WithHint(absl::InvalidArgumentError(WhatIsWrong(error, root, part)),
                         absl::StrCat("see '", part.path, " --help'")),
                json);
  }
  if (!commands.action()) {
    (void)WriteAll(STDERR_FILENO, HelpText(root));
    return kUsage;
  }
  if (!commands.options().remote && commands.options().endpoint.any()) {
    return Fail(absl::InvalidArgumentError(absl::StrCat(
                    "'", UnderstoodPart(root).path,
                    "' asks no daemon, so it takes no --host, --context or certificates")),
                json);
  }
  absl::StatusOr<std::unique_ptr<Session>> session =
      Session::Open(commands.options(), commands.formats(), interrupts);
  if (!session.ok()) return Fail(session.status(), json);
  const absl::StatusOr<int> code = commands.action()(**session);
  if (code.ok()) return *code;
  if (IsReaderGone(code.status())) return kReaderGone;
  if (interrupts.interrupted()) return kInterruptedCode;
  return Fail(code.status(), json);
}

}  // namespace
}  // namespace trapline::cli

int main(int argc, char** argv) {
  try {
    return trapline::cli::Run(argc, argv);
  } catch (const std::exception& error) {  // out of memory, or the like
    std::cerr << "trapline: " << error.what() << "\n";
    return trapline::cli::kError;
  }
}

// SPDX-License-Identifier: Apache-2.0
// How a command is declared: its place in the tree, its flags, what it can print, and what runs
// after parsing.
//
// Each command group has one file with one Add...Commands(Commands&) function. Flags live in a
// struct that the action shares; the action runs only once the whole command line has been parsed,
// so nothing is done on a bad one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "cli/output.h"
#include "cli/session.h"

namespace trapline::cli {

// Does the work and returns the process's exit code.
using Action = std::function<absl::StatusOr<int>(Session&)>;

class Commands {
 public:
  // The flags that say which daemon may stand before a command as well.
  explicit Commands(CLI::App& root);

  struct Spec {
    std::string name;
    std::string description;
    Formats formats = kDocumentFormats;  // what -o may ask for; 0: the command has no -o
    std::string format_flag = "-o,--output";
    std::string examples;  // shown under "Examples:", one line each
    bool remote = true;    // talks to the daemon: has --host and the like
  };

  CLI::App& root() { return root_; }
  // A command that only holds others; alone it prints its help and is a usage error.
  CLI::App& AddGroup(const std::string& name, const std::string& description);
  // A command that does something; the caller adds its flags to what is returned.
  CLI::App& Add(CLI::App& parent, const Spec& spec, Action action);

  // After a successful parse: the command chosen and its action; null where none was.
  const Action& action() const { return action_; }
  const SessionOptions& options() const { return options_; }
  Formats formats() const { return formats_; }

 private:
  CLI::App& root_;
  SessionOptions options_;
  Formats formats_ = 0;
  Action action_;
};

// --host, --context and certificates. Without a heading, help leaves them out.
void AddEndpointFlags(CLI::App& app, EndpointFlags& flags,
                      const std::string& heading = "Connection");

// Flags whose values are sizes, durations or numbers as units.h reads them; a bad one is a usage
// error that names it.
CLI::Option* AddSize(CLI::App& app, const std::string& flag, uint64_t& bytes,
                     const std::string& description);
CLI::Option* AddDuration(CLI::App& app, const std::string& flag, absl::Duration& duration,
                         const std::string& description);
CLI::Option* AddNumber(CLI::App& app, const std::string& flag, uint64_t& number,
                       const std::string& description);

// "debian" -> "vms/debian"; a resource name stays as it is.
std::string ResourceName(absl::string_view vm);

// The required VM argument: "debian" or "vms/debian"; `name` gets the resource name.
CLI::Option* AddVm(CLI::App& app, std::string& name);

// One function per file of this folder.
void AddVmCommands(Commands& commands);
void AddRunCommand(Commands& commands);
void AddSitesCommands(Commands& commands);
void AddTraceCommand(Commands& commands);
void AddHostCommand(Commands& commands);
void AddBenchCommands(Commands& commands);
void AddContextCommands(Commands& commands);
void AddCompletionCommand(Commands& commands);
void AddVersionCommand(Commands& commands);

// Parts of `trapline vm`, which is spread over several files; `vm` is the group.
void AddVmMoveCommands(Commands& commands, CLI::App& vm);
void AddVmInspectCommands(Commands& commands, CLI::App& vm);
void AddVmReportCommand(Commands& commands, CLI::App& vm);
void AddVmConsoleCommand(Commands& commands, CLI::App& vm);
void AddVmEventsCommand(Commands& commands, CLI::App& vm);

// Parts of `trapline sites`; `sites` is the group.
void AddSitesTopCommand(Commands& commands, CLI::App& sites);
void AddSitesHistoryCommand(Commands& commands, CLI::App& sites);
void AddSitesExportCommand(Commands& commands, CLI::App& sites);
void AddSitesDiffCommand(Commands& commands, CLI::App& sites);
void AddSitesPlotCommand(Commands& commands, CLI::App& sites);

// Parts of `trapline trace` that need no daemon.
void AddTraceFileCommands(Commands& commands, CLI::App& trace);

// A part of `trapline bench`; `bench` is the group.
void AddBenchHypercallCommand(Commands& commands, CLI::App& bench);

}  // namespace trapline::cli

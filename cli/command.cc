// SPDX-License-Identifier: Apache-2.0
// How a command is declared.
#include "cli/command.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "cli/units.h"

namespace trapline::cli {
namespace {

// Adds a flag whose text `parse` turns into a value; CLI11 shows what it says of a bad one with the
// flag's name.
template <typename Value>
CLI::Option* AddParsed(CLI::App& app, const std::string& flag, Value& value,
                       absl::StatusOr<Value> (*parse)(absl::string_view), const std::string& type,
                       const std::string& description) {
  const std::string shown = flag.substr(flag.rfind(',') + 1);
  return app
      .add_option_function<std::string>(
          flag,
          [&value, parse, shown](const std::string& text) {
            absl::StatusOr<Value> parsed = parse(text);
            if (!parsed.ok())
              throw CLI::ValidationError(shown, std::string(parsed.status().message()));
            value = *parsed;
          },
          description)
      ->type_name(type);
}

std::string Footer(absl::string_view examples) {
  if (examples.empty()) return "";
  std::string footer = "\nExamples:";
  for (absl::string_view line : absl::StrSplit(examples, '\n', absl::SkipEmpty())) {
    absl::StrAppend(&footer, "\n  ", line);
  }
  return footer;
}

}  // namespace

Commands::Commands(CLI::App& root) : root_(root) { AddEndpointFlags(root, options_.endpoint); }

CLI::App& Commands::AddGroup(const std::string& name, const std::string& description) {
  CLI::App* group = root_.add_subcommand(name, description);
  group->require_subcommand(0, 1);
  // In its help they would hide what it has to say.
  AddEndpointFlags(*group, options_.endpoint, "");
  group->footer(absl::StrCat("\n'trapline ", name, " COMMAND --help' says more about each."));
  return *group;
}

CLI::App& Commands::Add(CLI::App& parent, const Spec& spec, Action action) {
  CLI::App* app = parent.add_subcommand(spec.name, spec.description);
  app->footer(Footer(spec.examples));
  if (spec.formats != 0) {
    app->add_option(spec.format_flag, options_.output, "What to print")
        ->type_name(FormatNames(spec.formats))
        ->default_str("table")
        ->group("Output");
  }
  if (spec.remote) {
    AddEndpointFlags(*app, options_.endpoint);
    AddDuration(*app, "--timeout", options_.timeout, "Give up after this long (exit code 7)")
        ->group("Connection");
  }
  // CLI11 calls it once the command line has been parsed, and on the command that was chosen only.
  app->final_callback(
      [this, app, formats = spec.formats, remote = spec.remote, action = std::move(action)] {
        if (!app->get_subcommands().empty()) return;  // it is that which was chosen
        formats_ = formats;
        options_.remote = remote;
        action_ = action;
      });
  return *app;
}

void AddEndpointFlags(CLI::App& app, EndpointFlags& flags, const std::string& heading) {
  const auto add = [&](const char* flag, std::string& value, const char* type,
                       const char* description) {
    app.add_option(flag, value, description)->type_name(type)->group(heading);
  };
  add("--host", flags.host, "ADDRESS", "The daemon: unix:///path or HOST:PORT (or TRAPLINE_HOST)");
  add("--context", flags.context, "CONTEXT", "The daemon by its name; see 'trapline context'");
  add("--ca-cert", flags.tls.ca_cert, "FILE", "For HOST:PORT: who signed the daemon's certificate");
  add("--cert", flags.tls.cert, "FILE", "Our certificate");
  add("--key", flags.tls.key, "FILE", "Its key");
}

CLI::Option* AddSize(CLI::App& app, const std::string& flag, uint64_t& bytes,
                     const std::string& description) {
  return AddParsed<uint64_t>(app, flag, bytes, ParseSize, "SIZE", description);
}

CLI::Option* AddDuration(CLI::App& app, const std::string& flag, absl::Duration& duration,
                         const std::string& description) {
  return AddParsed<absl::Duration>(app, flag, duration, ParseDuration, "TIME", description);
}

CLI::Option* AddNumber(CLI::App& app, const std::string& flag, uint64_t& number,
                       const std::string& description) {
  return AddParsed<uint64_t>(app, flag, number, ParseNumber, "NUMBER", description);
}

std::string ResourceName(absl::string_view vm) {
  return absl::StartsWith(vm, "vms/") ? std::string(vm) : absl::StrCat("vms/", vm);
}

CLI::Option* AddVm(CLI::App& app, std::string& name) {
  return app
      .add_option_function<std::string>(
          "VM", [&name](const std::string& text) { name = ResourceName(text); }, "The VM's name")
      ->required()
      ->type_name("");
}

}  // namespace trapline::cli

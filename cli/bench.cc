// SPDX-License-Identifier: Apache-2.0
// `trapline bench`, and `boot` of it: how long a guest takes to its first line.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/attended_vm.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/vm_text.h"
#include "google/protobuf/struct.pb.h"

namespace trapline::cli {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

struct BootFlags : VmFlags {
  std::string until = "Run /init as init process";
  std::string from = "start";
  uint32_t runs = 5;
};

absl::StatusOr<double> MeasureBoot(Session& session, const BootFlags& flags,
                                   const v1::Vm& definition) {
  absl::Time heard = absl::InfiniteFuture();
  const absl::StatusOr<GuestRun> run =
      RunGuestOnce(session, definition, [&](absl::string_view output) {
        if (!absl::StrContains(output, flags.until)) return true;
        heard = absl::Now();
        return false;
      });
  if (!run.ok()) return run.status();
  if (heard == absl::InfiniteFuture()) {
    return absl::InternalError(absl::StrCat("the guest ended without saying '", flags.until, "'"));
  }
  return absl::ToDoubleSeconds(heard - (flags.from == "create" ? run->asked : run->started));
}

absl::StatusOr<int> BenchBoot(Session& session, const BootFlags& flags) {
  const absl::StatusOr<v1::Vm> definition = VmFromFlags(flags);
  if (!definition.ok()) return definition.status();
  Struct document;
  Value& seconds = (*document.mutable_fields())["seconds"];
  std::string text = absl::StrCat("seconds from ", flags.from, " to '", flags.until, "':");
  std::vector<double> sorted;
  for (uint32_t i = 0; i < flags.runs; ++i) {
    const absl::StatusOr<double> run = MeasureBoot(session, flags, *definition);
    if (!run.ok()) return run.status();
    seconds.mutable_list_value()->add_values()->set_number_value(*run);
    absl::StrAppendFormat(&text, " %.3f", *run);
    sorted.push_back(*run);
  }
  std::sort(sorted.begin(), sorted.end());
  const double median = sorted.empty() ? 0 : sorted[(sorted.size() - 1) / 2];
  (*document.mutable_fields())["medianSeconds"].set_number_value(median);
  absl::StrAppendFormat(&text, "; median %.3f", median);
  const Output& out = session.output();
  const absl::Status status =
      out.people() ? out.Text(absl::StrCat(text, "\n")) : out.Document(document);
  if (!status.ok()) return status;
  return kOk;
}

void AddBoot(Commands& commands, CLI::App& bench) {
  const auto flags = std::make_shared<BootFlags>();
  CLI::App& app = commands.Add(
      bench,
      {.name = "boot",
       .description = "How long a guest takes from its start to a line on its console",
       .examples = "trapline bench boot vmlinuz --initrd initramfs.gz --append 'console=ttyS0'\n"
                   "trapline bench boot guests/hello.elf --until hello --from create --runs 20"},
      [flags](Session& session) { return BenchBoot(session, *flags); });
  app.add_option("KERNEL", flags->kernel, "bzImage, ELF64 or Multiboot 1 image")
      ->required()
      ->type_name("FILE");
  AddVmFlags(app, *flags);
  app.add_option("--until", flags->until, "What the guest says when it is up")
      ->type_name("TEXT")
      ->capture_default_str();
  AddChoice(
      app, "--from", flags->from, "create|start",
      "Where the clock starts: when the VM is asked for, or when it is made and told to start");
  app.add_option("--runs", flags->runs, "How often")->type_name("N")->capture_default_str();
}

}  // namespace

void AddBenchCommands(Commands& commands) {
  CLI::App& bench = commands.AddGroup("bench", "Measure what the project is about");
  AddBenchHypercallCommand(commands, bench);
  AddBoot(commands, bench);
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// `trapline bench hypercall|boot`: the figures that the project is about, measured here.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/attended_vm.h"
#include "cli/bench_table.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/vm_text.h"
#include "google/protobuf/struct.pb.h"

namespace trapline::cli {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

constexpr absl::string_view kBenchGuest = "hypercall_bench.elf";
constexpr const char* kAllTechniques = "direct|emulate|interrupt|linked";

// Beside this program as it was built (build/bin and build/guests) or installed (bin and
// share/trapline/guests).
absl::StatusOr<std::string> FindBenchGuest() {
  std::error_code error;
  const std::filesystem::path bin =
      std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* folder : {"../guests", "../share/trapline/guests"}) {
    const std::filesystem::path candidate =
        (bin / folder / std::string(kBenchGuest)).lexically_normal();
    if (std::filesystem::exists(candidate, error)) return candidate.string();
  }
  return WithHint(
      absl::NotFoundError(absl::StrCat("the guest ", kBenchGuest, " is not beside this program")),
      "--guest says where it is");
}

absl::Status PrintDocument(const Output& out, const std::string& text, const Struct& document) {
  return out.people() ? out.Text(text) : out.Document(document);
}

struct HypercallFlags {
  std::vector<std::string> techniques = {"direct", "emulate", "interrupt", "linked"};
  std::string guest;
  uint32_t runs = 5;
  uint32_t calls = 100000;
};

absl::StatusOr<TechniqueRow> Measure(Session& session, const HypercallFlags& flags,
                                     const std::string& guest, const std::string& technique) {
  VmFlags vm;
  vm.kernel = guest;
  vm.memory_bytes = uint64_t{64} << 20;
  vm.command_line =
      absl::StrCat("technique=", technique, " runs=", flags.runs, " calls=", flags.calls);
  // A direct site is never rewritten, whatever the policy.
  if (technique != "direct")
    vm.policy = {.technique = technique, .patch_after = 1, .link_after = 1};
  const absl::StatusOr<v1::Vm> definition = VmFromFlags(vm);
  if (!definition.ok()) return definition.status();
  const absl::StatusOr<GuestRun> run =
      RunGuestOnce(session, *definition, [](absl::string_view) { return true; });
  if (!run.ok()) return run.status();
  absl::StatusOr<TechniqueRow> row = ParseTechniqueRow(run->output, technique);
  if (row.ok()) return row;
  return absl::InternalError(absl::StrCat(row.status().message(), "; it ended as ",
                                          ShortName(v1::Vm::State_Name(run->vm.state()), ""), " (",
                                          run->vm.state_reason(), ") after saying: ", run->output));
}

Struct TechniqueDocument(const std::vector<TechniqueRow>& rows) {
  Struct document;
  auto& list = *(*document.mutable_fields())["techniques"].mutable_list_value();
  for (const TechniqueRow& row : rows) {
    auto& fields = *list.add_values()->mutable_struct_value()->mutable_fields();
    fields["technique"].set_string_value(row.technique);
    fields["medianCycles"].set_number_value(static_cast<double>(Median(row.cycles)));
    for (const uint64_t cycles : row.cycles) {
      fields["cycles"].mutable_list_value()->add_values()->set_number_value(
          static_cast<double>(cycles));
    }
  }
  return document;
}

absl::StatusOr<int> BenchHypercall(Session& session, const HypercallFlags& flags) {
  absl::StatusOr<std::string> guest = flags.guest.empty() ? FindBenchGuest() : flags.guest;
  if (!guest.ok()) return guest.status();
  std::vector<TechniqueRow> rows;
  for (const std::string& technique : flags.techniques) {
    absl::StatusOr<TechniqueRow> row = Measure(session, flags, *guest, technique);
    if (!row.ok()) return row.status();
    rows.push_back(*std::move(row));
  }
  const Output& out = session.output();
  const absl::Status status =
      PrintDocument(out, RenderTechniqueTable(rows, out.colour()), TechniqueDocument(rows));
  if (!status.ok()) return status;
  return kOk;
}

void AddHypercall(Commands& commands, CLI::App& bench) {
  const auto flags = std::make_shared<HypercallFlags>();
  CLI::App& app = commands.Add(
      bench,
      {.name = "hypercall",
       .description = "What one hypercall costs with each technique, measured inside the guest, "
                      "beside lguest's figures",
       .examples = "trapline bench hypercall\n"
                   "trapline bench hypercall --techniques emulate,linked --runs 3 -o json"},
      [flags](Session& session) { return BenchHypercall(session, *flags); });
  AddChoices(app, "--techniques", flags->techniques, kAllTechniques,
             "Which to measure (default: all)");
  app.add_option("--runs", flags->runs, "Figures for each")->type_name("N")->capture_default_str();
  app.add_option("--calls", flags->calls, "Hypercalls in each run")
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--guest", flags->guest, "The benchmark guest, if not beside this program")
      ->type_name("FILE");
}

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
  const absl::Status status = PrintDocument(session.output(), absl::StrCat(text, "\n"), document);
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
  AddHypercall(commands, bench);
  AddBoot(commands, bench);
}

}  // namespace trapline::cli

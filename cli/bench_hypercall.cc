// SPDX-License-Identifier: Apache-2.0
// `trapline bench hypercall`: lguest's table on this machine, and what came after it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/attended_vm.h"
#include "cli/bench_plot.h"
#include "cli/bench_table.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/vm_text.h"
#include "google/protobuf/struct.pb.h"

namespace trapline::cli {
namespace {

using google::protobuf::Struct;

constexpr absl::string_view kBenchGuest = "hypercall_bench.elf";
constexpr uint64_t kGuestMemory = uint64_t{64} << 20;

struct Flags {
  std::vector<std::string> techniques;
  std::string engine = "auto";
  std::string guest;
  std::string plot;
  uint32_t runs = 5;
  uint32_t calls = 100000;
};

struct Measurement {
  TechniqueRow row;
  v1::Vm vm;  // as it ended
};

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

std::string RowNames() {
  return absl::StrJoin(BenchRows(), "|", [](std::string* out, const BenchRow& row) {
    absl::StrAppend(out, row.name);
  });
}

absl::StatusOr<v1::Vm> Definition(const Flags& flags, const std::string& guest,
                                  const BenchRow& row) {
  VmFlags vm;
  vm.kernel = guest;
  vm.memory_bytes = kGuestMemory;
  vm.engine = flags.engine;
  vm.command_line = absl::StrCat("technique=", row.technique, row.options, " runs=", flags.runs,
                                 " calls=", flags.calls);
  // A direct site is never rewritten, whatever the policy.
  if (row.technique != "direct")
    vm.policy = {.technique = std::string(row.technique), .patch_after = 1, .link_after = 1};
  return VmFromFlags(vm);
}

absl::StatusOr<Measurement> Measure(Session& session, const Flags& flags, const std::string& guest,
                                    const BenchRow& wanted) {
  const absl::StatusOr<v1::Vm> definition = Definition(flags, guest, wanted);
  if (!definition.ok()) return definition.status();
  absl::StatusOr<GuestRun> run =
      RunGuestOnce(session, *definition, [](absl::string_view) { return true; });
  if (!run.ok()) return run.status();
  absl::StatusOr<TechniqueRow> row = ParseTechniqueRow(run->output, wanted);
  if (row.ok()) return Measurement{*std::move(row), std::move(run->vm)};
  return absl::InternalError(absl::StrCat(row.status().message(), "; it ended as ",
                                          ShortName(v1::Vm::State_Name(run->vm.state()), ""), " (",
                                          run->vm.state_reason(), ") after saying: ", run->output));
}

Struct RatioDocument(const Ratio& ratio) {
  Struct document;
  auto& fields = *document.mutable_fields();
  fields["median"].set_number_value(ratio.median);
  fields["least"].set_number_value(ratio.least);
  fields["most"].set_number_value(ratio.most);
  return document;
}

Struct RowDocument(const std::vector<TechniqueRow>& rows, const TechniqueRow& row) {
  Struct document;
  auto& fields = *document.mutable_fields();
  fields["technique"].set_string_value(row.name);
  fields["medianCycles"].set_number_value(static_cast<double>(Median(row.cycles)));
  for (const uint64_t cycles : row.cycles) {
    fields["cycles"].mutable_list_value()->add_values()->set_number_value(
        static_cast<double>(cycles));
  }
  if (const double nanoseconds = Nanoseconds(row); nanoseconds != 0) {
    fields["medianNanoseconds"].set_number_value(nanoseconds);
    fields["callsPerSecond"].set_number_value(1e9 / nanoseconds);
  }
  if (const Ratio ratio = AgainstEmulation(rows, row); ratio.median != 0)
    *fields["timesCheaperThanEmulate"].mutable_struct_value() = RatioDocument(ratio);
  return document;
}

Struct TableDocument(const std::vector<TechniqueRow>& rows, const v1::Vm& vm) {
  Struct document;
  auto& fields = *document.mutable_fields();
  fields["engine"].set_string_value(EngineName(vm.engine()));
  fields["engineReason"].set_string_value(vm.engine_reason());
  auto& list = *fields["techniques"].mutable_list_value();
  for (const TechniqueRow& row : rows)
    *list.add_values()->mutable_struct_value() = RowDocument(rows, row);
  return document;
}

absl::Status WritePlot(Session& session, const std::string& path,
                       const std::vector<TechniqueRow>& rows, const std::string& engine) {
  const auto host =
      session.Call(session.host(), &v1::Host::Stub::GetHostInfo, v1::GetHostInfoRequest());
  if (!host.ok()) return host.status();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << RenderTechniquePlot(rows, {engine, host->cpu_model()});
  file.close();
  if (!file) return UsageError("--plot", absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

absl::StatusOr<int> BenchHypercall(Session& session, const Flags& flags) {
  absl::StatusOr<std::string> guest = flags.guest.empty() ? FindBenchGuest() : flags.guest;
  if (!guest.ok()) return guest.status();
  std::vector<TechniqueRow> rows;
  v1::Vm vm;
  for (const BenchRow& wanted : BenchRows()) {
    if (std::find(flags.techniques.begin(), flags.techniques.end(), wanted.name) ==
        flags.techniques.end())
      continue;
    absl::StatusOr<Measurement> measured = Measure(session, flags, *guest, wanted);
    if (!measured.ok()) return measured.status();
    rows.push_back(std::move(measured->row));
    vm = std::move(measured->vm);
  }
  const std::string engine = EngineName(vm.engine());
  const Output& out = session.output();
  absl::Status status =
      out.people()
          ? out.Text(RenderTechniqueTable(
                rows, absl::StrCat("engine ", engine, ": ", vm.engine_reason()), out.colour()))
          : out.Document(TableDocument(rows, vm));
  if (status.ok() && !flags.plot.empty()) status = WritePlot(session, flags.plot, rows, engine);
  if (!status.ok()) return status;
  return kOk;
}

}  // namespace

void AddBenchHypercallCommand(Commands& commands, CLI::App& bench) {
  const auto flags = std::make_shared<Flags>();
  for (const BenchRow& row : BenchRows()) flags->techniques.emplace_back(row.name);
  CLI::App& app = commands.Add(
      bench,
      {.name = "hypercall",
       .description = "What one hypercall costs with each technique, measured inside the guest, "
                      "beside lguest's figures",
       .examples = "trapline bench hypercall\n"
                   "trapline bench hypercall --engine direct --plot techniques.svg\n"
                   "trapline bench hypercall --techniques emulate,linked --runs 3 -o json"},
      [flags](Session& session) { return BenchHypercall(session, *flags); });
  AddChoices(app, "--techniques", flags->techniques, RowNames(),
             "Which rows to measure (default: all)");
  AddChoice(app, "--engine", flags->engine, kEngines, "What executes the guest")
      ->capture_default_str();
  app.add_option("--runs", flags->runs, "Figures for each")
      ->type_name("N")
      ->check(CLI::Range(1u, 1000u).description(""))
      ->capture_default_str();
  app.add_option("--calls", flags->calls, "Hypercalls in each run")
      ->type_name("N")
      ->check(CLI::Range(1u, UINT32_MAX).description(""))
      ->capture_default_str();
  app.add_option("--plot", flags->plot, "Also draw the table, as SVG")->type_name("FILE");
  app.add_option("--guest", flags->guest, "The benchmark guest, if not beside this program")
      ->type_name("FILE");
}

}  // namespace trapline::cli

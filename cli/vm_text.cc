// SPDX-License-Identifier: Apache-2.0
// VMs as people write them.
#include "cli/vm_text.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/restart_text.h"
#include "cli/status.h"
#include "google/protobuf/util/time_util.h"

namespace trapline::cli {
namespace {

// The file's absolute path, checked to be a file here and now.
absl::StatusOr<std::string> AbsoluteFile(absl::string_view field, const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error) return absl::InternalError(absl::StrCat("no current directory: ", error.message()));
  const std::filesystem::file_status status = std::filesystem::status(absolute, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat(field, ": there is no file ", absolute.string()));
  }
  if (std::filesystem::is_directory(status)) {
    return UsageError(field, absl::StrCat(absolute.string(), " is a directory"));
  }
  return absolute.lexically_normal().string();
}

CLI::Validator OneOf(const std::string& choices) {
  const std::vector<std::string> names = absl::StrSplit(choices, '|');
  CLI::Validator member = CLI::IsMember(names);
  member.description("");  // the type name lists them already
  return member;
}

}  // namespace

CLI::Option* AddChoice(CLI::App& app, const std::string& flag, std::string& value,
                       const std::string& choices, const std::string& description) {
  return app.add_option(flag, value, description)->type_name(choices)->check(OneOf(choices));
}

CLI::Option* AddChoices(CLI::App& app, const std::string& flag, std::vector<std::string>& values,
                        const std::string& choices, const std::string& description) {
  return app.add_option(flag, values, description)
      ->type_name(choices)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(OneOf(choices));
}

v1::Policy PolicyFlags::ToPolicy() const {
  v1::Policy policy;
  policy.set_limit(TechniqueOf(technique));
  policy.set_interrupt_after(patch_after);
  policy.set_linked_after(link_after);
  return policy;
}

void AddPolicyFlags(CLI::App& app, PolicyFlags& flags) {
  AddChoice(app, "--technique", flags.technique, kTechniques,
            "How far a hypercall site may be rewritten");
  app.add_option("--patch-after", flags.patch_after,
                 "Traps before a site is rewritten to interrupt")
      ->type_name("N")
      ->check(CLI::Range(uint32_t{1}, UINT32_MAX).description(""));
  app.add_option("--link-after", flags.link_after, "Calls by interrupt before it is linked")
      ->type_name("N")
      ->check(CLI::Range(uint32_t{1}, UINT32_MAX).description(""));
}

void AddVmFlags(CLI::App& app, VmFlags& flags) {
  app.add_option("--initrd", flags.initrd, "The initramfs, or a Multiboot image's module")
      ->type_name("FILE");
  app.add_option("--symbols", flags.symbols, "The kernel's System.map or vmlinux")
      ->type_name("FILE");
  app.add_option("--append", flags.command_line, "The kernel's command line")->type_name("TEXT");
  app.add_option("--vcpus", flags.vcpus, "Virtual CPUs")->type_name("N")->capture_default_str();
  AddSize(app, "--memory", flags.memory_bytes, "Guest RAM: 512M, 2G")->default_str("256M");
  AddChoice(app, "--engine", flags.engine, kEngines, "What executes guest instructions")
      ->capture_default_str();
  AddPolicyFlags(app, flags.policy);
  app.add_option("--label", flags.labels, "KEY=VALUE, may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

void AddRestartFlags(CLI::App& app, VmFlags& flags) {
  app.add_option(
         "--restart", flags.restart,
         "Start it again when it ends unasked: never, on-failure[:N] or always[:N], at most "
         "N times in a row")
      ->type_name("POLICY");
  AddDuration(app, "--restart-backoff", flags.restart_backoff,
              "Before the first restart; doubled with each that follows")
      ->default_str("1s")
      ->needs("--restart");
}

absl::StatusOr<v1::Vm> VmFromFlags(const VmFlags& flags) {
  v1::Vm vm;
  v1::VmSpec& spec = *vm.mutable_spec();
  absl::StatusOr<std::string> kernel = AbsoluteFile("kernel", flags.kernel);
  if (!kernel.ok()) return kernel.status();
  spec.set_kernel_path(*std::move(kernel));
  if (!flags.initrd.empty()) {
    absl::StatusOr<std::string> initrd = AbsoluteFile("--initrd", flags.initrd);
    if (!initrd.ok()) return initrd.status();
    spec.set_initrd_path(*std::move(initrd));
  }
  if (!flags.symbols.empty()) {
    absl::StatusOr<std::string> symbols = AbsoluteFile("--symbols", flags.symbols);
    if (!symbols.ok()) return symbols.status();
    spec.set_symbols_path(*std::move(symbols));
  }
  spec.set_command_line(flags.command_line);
  spec.set_vcpus(flags.vcpus);
  spec.set_memory_bytes(flags.memory_bytes);
  spec.set_engine(EngineOf(flags.engine));
  if (flags.policy.any()) *spec.mutable_policy() = flags.policy.ToPolicy();
  if (!flags.restart.empty()) {
    absl::StatusOr<v1::RestartPolicy> restart = ParseRestart("--restart", flags.restart);
    if (!restart.ok()) return restart.status();
    *spec.mutable_restart() = *std::move(restart);
  }
  if (flags.restart_backoff != absl::ZeroDuration()) {
    *spec.mutable_restart()->mutable_initial_backoff() =
        google::protobuf::util::TimeUtil::NanosecondsToDuration(
            absl::ToInt64Nanoseconds(flags.restart_backoff));
  }
  for (const std::string& label : flags.labels) {
    const size_t equals = label.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return UsageError("--label", absl::StrCat("'", label, "' is not KEY=VALUE"));
    }
    (*vm.mutable_labels())[label.substr(0, equals)] = label.substr(equals + 1);
  }
  return vm;
}

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// VMs as people write them: the flags that describe a VM.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/command.h"
#include "cli/names.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli {

constexpr const char* kTechniques = "emulate|interrupt|linked";
constexpr const char* kEngines = "auto|soft|direct|kvm";

// A flag that takes one of "a|b|c".
CLI::Option* AddChoice(CLI::App& app, const std::string& flag, std::string& value,
                       const std::string& choices, const std::string& description);

// The same, for several: "--for stopped,failed".
CLI::Option* AddChoices(CLI::App& app, const std::string& flag, std::vector<std::string>& values,
                        const std::string& choices, const std::string& description);

// The flags that make a policy; what is not given is the daemon's default.
struct PolicyFlags {
  std::string technique;
  uint32_t patch_after = 0;
  uint32_t link_after = 0;

  bool any() const { return !technique.empty() || patch_after != 0 || link_after != 0; }
  v1::Policy ToPolicy() const;
};
void AddPolicyFlags(CLI::App& app, PolicyFlags& flags);

// The flags of `vm create` and `run` that say what the VM is.
struct VmFlags {
  std::string kernel;
  std::string initrd;
  std::string symbols;
  std::string command_line;
  uint32_t vcpus = 1;
  uint64_t memory_bytes = uint64_t{256} << 20;
  std::string engine = "auto";
  PolicyFlags policy;
  std::string restart;
  absl::Duration restart_backoff = absl::ZeroDuration();  // zero: the daemon's default
  std::vector<std::string> labels;
};
void AddVmFlags(CLI::App& app, VmFlags& flags);
// Those for a VM that is kept.
void AddRestartFlags(CLI::App& app, VmFlags& flags);

// What to ask the daemon for: paths made absolute, since the daemon reads the files. NOT_FOUND
// where a file is not there, so that a slip is told at once.
absl::StatusOr<v1::Vm> VmFromFlags(const VmFlags& flags);

}  // namespace trapline::cli

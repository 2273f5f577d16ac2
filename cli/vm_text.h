// SPDX-License-Identifier: Apache-2.0
// VMs as people read and write them: states, engines, techniques, and the flags that describe a VM.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/table.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli {

// "RUNNING" in the colour of that state.
Cell StateCell(v1::Vm::State state);

// The state of that name ("running"); UNSPECIFIED for others.
v1::Vm::State StateOf(absl::string_view name);

// The value of a flag like --technique linked; the flag itself only admits names that exist.
v1::Technique TechniqueOf(absl::string_view name);
v1::Engine EngineOf(absl::string_view name);

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
  std::vector<std::string> labels;
};
void AddVmFlags(CLI::App& app, VmFlags& flags);

// What to ask the daemon for: paths made absolute, since the daemon reads the files. NOT_FOUND
// where a file is not there, so that a slip is told at once.
absl::StatusOr<v1::Vm> VmFromFlags(const VmFlags& flags);

// "GUEST_POWER_OFF" -> "guest power off".
std::string EventKindName(v1::VmEvent::Kind kind);

// How long ago the API's timestamp was; "" for none.
std::string AgeOf(const google::protobuf::Timestamp& time);

// "2026-11-23T13:51:38.123Z".
std::string TimeText(const google::protobuf::Timestamp& time);

}  // namespace trapline::cli

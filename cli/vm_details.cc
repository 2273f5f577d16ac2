// SPDX-License-Identifier: Apache-2.0
// Lines of a VM's details.
#include "cli/vm_details.h"

#include "absl/strings/str_cat.h"
#include "cli/names.h"
#include "cli/units.h"

namespace trapline::cli {

void AddState(const v1::Vm& vm, Details& details) {
  details.Add("State", StateCell(vm.state()));
  details.AddIfSet("Reason", vm.state_reason());
  if (vm.has_exit_status()) details.Add("Exit status", absl::StrCat(vm.exit_status()));
}

void AddMachine(const v1::Vm& vm, Details& details) {
  details.AddIfSet("Engine", EngineName(vm.engine()));
  details.AddIfSet("Engine chosen", vm.engine_reason());
  details.Add("vCPUs", absl::StrCat(vm.spec().vcpus()));
  details.Add("Memory", FormatSize(vm.spec().memory_bytes()));
  details.Add("Kernel", vm.spec().kernel_path());
  details.AddIfSet("Initrd", vm.spec().initrd_path());
}

}  // namespace trapline::cli

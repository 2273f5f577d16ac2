// SPDX-License-Identifier: Apache-2.0
// What `vm show` and a report say of a VM alike.
#pragma once

#include "cli/table.h"
#include "trapline/v1/vms.pb.h"

namespace trapline::cli {

// The state, why, and the guest's exit status.
void AddState(const v1::Vm& vm, Details& details);
// What executes it, its size, and what it was loaded from.
void AddMachine(const v1::Vm& vm, Details& details);

}  // namespace trapline::cli

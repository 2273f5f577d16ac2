// SPDX-License-Identifier: Apache-2.0
// A Linux guest's own symbol table, found in its memory without its help.
#pragma once

#include <vector>

#include "core/machine/loader/image.h"
#include "core/machine/memory/guest_memory.h"

namespace trapline::vm {

// The symbols of the kernel that lies in memory, sorted by address; empty if none is found that is
// right beyond doubt. Takes up to a few hundred milliseconds. The guest may run meanwhile.
std::vector<machine::Symbol> FindKernelSymbols(const machine::GuestMemory& memory);

}  // namespace trapline::vm

// SPDX-License-Identifier: Apache-2.0
// A Linux guest's own symbol table, found in its memory without its help.
#pragma once

#include <optional>

#include "absl/functional/function_ref.h"
#include "core/machine/memory/guest_memory.h"
#include "core/vm/kernel_table.h"

namespace trapline::vm {

// The first table in memory that contradicts itself nowhere and that accept takes: memory may hold
// those of other kernels, or of the same in a file. Its addresses are those that the kernel runs
// at. Takes up to a few hundred milliseconds. The guest may run meanwhile.
std::optional<KernelTable> FindKernelSymbols(const machine::GuestMemory& memory,
                                             absl::FunctionRef<bool(const KernelTable&)> accept);

}  // namespace trapline::vm

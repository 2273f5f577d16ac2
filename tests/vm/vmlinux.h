// SPDX-License-Identifier: Apache-2.0
// A vmlinux of symbols and a build ID alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/vm/kernel_table.h"

namespace trapline::vm {

// An ELF64 file with these symbols, and with build_id as what a kernel has at note_descriptor;
// empty: none. Code and data are in one section each, from the lowest to the highest address.
std::vector<std::byte> MakeVmlinux(std::span<const KernelSymbol> symbols, uint64_t note_descriptor,
                                   std::span<const std::byte> build_id);

}  // namespace trapline::vm

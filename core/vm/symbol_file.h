// SPDX-License-Identifier: Apache-2.0
// Symbols of a guest's kernel from a file of the host's: a System.map or an ELF vmlinux.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "core/machine/loader/elf_symbols.h"
#include "core/vm/kernel_table.h"

namespace trapline::vm {

struct SymbolFile {
  KernelTable table;
  // Of a vmlinux that has one.
  std::optional<machine::ElfBuildId> build_id;
};

// INVALID_ARGUMENT: what the file is not, and where. The file is untrusted.
absl::StatusOr<SymbolFile> ReadSymbolFile(std::span<const std::byte> file);

}  // namespace trapline::vm

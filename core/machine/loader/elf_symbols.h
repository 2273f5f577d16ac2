// SPDX-License-Identifier: Apache-2.0
// The symbol table of an ELF file, and what names code in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/machine/loader/image.h"

namespace trapline::machine {

// A function, object or label that a section of the file holds.
struct ElfSymbol {
  uint64_t address;
  uint64_t size;         // as the table has it; 0 where it does not say
  uint64_t section_end;  // of the section that holds it
  std::string name;
  bool in_code;  // that section is executable
  bool is_function;
};

// Those of a 32-bit or 64-bit ELF file, in the table's order. Empty: it has none, or the table is
// not to be trusted. The file is untrusted.
std::vector<ElfSymbol> ReadElfSymbols(std::span<const std::byte> file);

// Those that name code, sorted, each with all that it covers: where the table has no size, up to
// the next symbol or the end of what the label stands in. Of several at one address a function
// comes first.
std::vector<Symbol> CodeSymbols(std::vector<ElfSymbol> symbols);

// The GNU build ID of an ELF64 file, and the address that its note is loaded to.
struct ElfBuildId {
  uint64_t address;
  std::vector<std::byte> bytes;
};
std::optional<ElfBuildId> FindElfBuildId(std::span<const std::byte> file);

}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// Hostile files of symbols: as text, and as an ELF file by the first byte.
#include "core/vm/symbol_file.h"

#include <elf.h>

#include "core/vm/symbols.h"
#include "tests/fuzz/image_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trapline;
  std::vector<std::byte> file = machine::CopyOf(data, size);
  if (size > EI_NIDENT && (data[0] & 1) != 0) {
    std::memcpy(file.data(), ELFMAG, SELFMAG);
    machine::PutAt<uint8_t>(file, EI_CLASS, (data[0] & 2) != 0 ? ELFCLASS64 : ELFCLASS32);
  }
  auto read = vm::ReadSymbolFile(file);
  if (!read.ok()) {
    if (read.status().message().empty()) std::abort();
    return 0;
  }
  const auto code = read->table.Code(0);
  for (const machine::Symbol& symbol : code) {
    if (symbol.size == 0) std::abort();
  }
  const vm::SymbolTable table(code);
  for (const machine::Symbol& symbol : code) {
    if (table.Find(symbol.address + symbol.size - 1).empty()) std::abort();
  }
  return 0;
}

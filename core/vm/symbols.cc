// SPDX-License-Identifier: Apache-2.0
// Binary search over symbols.
#include "core/vm/symbols.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace trapline::vm {

void SymbolTable::Set(std::vector<machine::Symbol> symbols) {
  absl::MutexLock lock(&mutex_);
  symbols_ = std::move(symbols);
}

bool SymbolTable::empty() const {
  absl::MutexLock lock(&mutex_);
  return symbols_.empty();
}

std::string SymbolTable::Find(uint64_t address) const {
  absl::MutexLock lock(&mutex_);
  auto above = std::upper_bound(
      symbols_.begin(), symbols_.end(), address,
      [](uint64_t a, const machine::Symbol& symbol) { return a < symbol.address; });
  if (above == symbols_.begin()) return "";
  const machine::Symbol& symbol = *std::prev(above);
  uint64_t offset = address - symbol.address;
  if (symbol.size != 0 && offset >= symbol.size) return "";
  return offset == 0 ? symbol.name : absl::StrCat(symbol.name, "+0x", absl::Hex(offset));
}

}  // namespace trapline::vm

// SPDX-License-Identifier: Apache-2.0
// Binary search over symbols, then outwards from the nearest.
#include "core/vm/symbols.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace trapline::vm {
namespace {

bool Covers(const machine::Symbol& symbol, uint64_t address) {
  return address - symbol.address < symbol.size;
}

}  // namespace

SymbolTable::SymbolTable(std::vector<machine::Symbol> symbols) : symbols_(std::move(symbols)) {
  around_.reserve(symbols_.size());
  for (size_t i = 0; i < symbols_.size(); ++i) {
    size_t outer = i == 0 ? kNone : i - 1;
    while (outer != kNone && !Covers(symbols_[outer], symbols_[i].address)) outer = around_[outer];
    around_.push_back(outer);
  }
}

const machine::Symbol* SymbolTable::Covering(uint64_t address) const {
  auto above = std::upper_bound(
      symbols_.begin(), symbols_.end(), address,
      [](uint64_t a, const machine::Symbol& symbol) { return a < symbol.address; });
  if (above == symbols_.begin()) return nullptr;
  auto nearest = static_cast<size_t>(above - symbols_.begin()) - 1;
  while (nearest != kNone && !Covers(symbols_[nearest], address)) nearest = around_[nearest];
  return nearest == kNone ? nullptr : &symbols_[nearest];
}

std::string SymbolTable::Find(uint64_t address) const {
  const machine::Symbol* symbol = Covering(address);
  if (!symbol) return "";
  uint64_t offset = address - symbol->address;
  return offset == 0 ? symbol->name : absl::StrCat(symbol->name, "+0x", absl::Hex(offset));
}

}  // namespace trapline::vm

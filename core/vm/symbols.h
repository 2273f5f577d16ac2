// SPDX-License-Identifier: Apache-2.0
// From addresses to names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/machine/loader/image.h"

namespace trapline::vm {

// Names of code. An address that no symbol covers has none.
class SymbolTable {
 public:
  SymbolTable() = default;
  // Sorted by address.
  explicit SymbolTable(std::vector<machine::Symbol> symbols);

  size_t size() const { return symbols_.size(); }
  // The symbol that covers the address, the innermost where one lies in another; null: none does.
  const machine::Symbol* Covering(uint64_t address) const;
  // "name+0x12", or nothing.
  std::string Find(uint64_t address) const;

 private:
  static constexpr size_t kNone = ~size_t{0};

  std::vector<machine::Symbol> symbols_;
  std::vector<size_t> around_;  // of each, the nearest before it that reaches over its start
};

}  // namespace trapline::vm

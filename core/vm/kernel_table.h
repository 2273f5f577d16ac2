// SPDX-License-Identifier: Apache-2.0
// A Linux kernel's symbols, wherever they come from, and where that kernel lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/machine/loader/image.h"
#include "core/vm/trap_handlers.h"

namespace trapline::vm {

// As nm, System.map and kallsyms have them: 't', 'T', 'w' and 'W' are code.
struct KernelSymbol {
  uint64_t address;
  char type;
  std::string name;

  bool IsCode() const { return type == 't' || type == 'T' || type == 'w' || type == 'W'; }
};

// A kernel's whole table. What it says is untrusted.
class KernelTable {
 public:
  // INVALID_ARGUMENT: it does not say where the kernel's text begins and ends.
  static absl::StatusOr<KernelTable> Make(std::vector<KernelSymbol> symbols);

  // Sorted by address; of several at one address, the kernel's own choice first.
  std::span<const KernelSymbol> symbols() const { return symbols_; }
  // Those that name code of the kernel's own text, moved up by slide, each with all up to the next
  // symbol of any type: never a gap between sections, never a module.
  std::vector<machine::Symbol> Code(uint64_t slide) const;
  // How much higher the kernel runs than the table has it, by where its trap handlers are: all of
  // them agree on one slide, of whole 2 MiB. FAILED_PRECONDITION says how they do not.
  absl::StatusOr<uint64_t> SlideTo(const TrapHandlers& handlers) const;

 private:
  // Text, or init text: [start, end).
  struct Region {
    uint64_t start, end;
  };

  std::vector<KernelSymbol> symbols_;
  std::vector<Region> regions_;
};

}  // namespace trapline::vm

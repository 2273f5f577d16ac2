// SPDX-License-Identifier: Apache-2.0
// From addresses to names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/machine/loader/image.h"

namespace trapline::vm {

// Thread-safe.
class SymbolTable {
 public:
  // Replaces all symbols; they are sorted by address.
  void Set(std::vector<machine::Symbol> symbols);
  bool empty() const;
  // "name+0x12" for the nearest symbol at or below the address, or nothing: a symbol with a size
  // covers no more than that.
  std::string Find(uint64_t address) const;

 private:
  mutable absl::Mutex mutex_;
  std::vector<machine::Symbol> symbols_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::vm

// SPDX-License-Identifier: Apache-2.0
// The names of a guest's code: from its image, from its kernel's memory, or from a file that was
// supplied for it. A name is shown only where it is right beyond doubt.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/engine/engine.h"
#include "core/machine/loader/image.h"
#include "core/machine/memory/guest_memory.h"
#include "core/vm/symbol_file.h"
#include "core/vm/symbols.h"
#include "core/vm/trap_handlers.h"

namespace trapline::vm {

// Thread-safe.
class GuestSymbols {
 public:
  // Calls look with one vCPU after another, none of which is in Run, until it returns true.
  using Vcpus = std::function<void(absl::FunctionRef<bool(engine::Vcpu&)> look)>;

  // name: for logs. memory outlives this.
  GuestSymbols(std::string name, const machine::GuestMemory& memory)
      : name_(std::move(name)), memory_(memory) {}

  // From now on a Linux kernel's symbols are those of this file, if they turn out to be. Before the
  // first boot.
  void Supply(std::string path, SymbolFile file);
  // An image was loaded; what was known is void.
  void Begin(std::vector<machine::Symbol> symbols, bool is_linux);

  // Looks for a Linux kernel that was not found yet, by means of vcpus. A search that finds nothing
  // makes the next one wait twenty times as long as it took.
  void Locate(const Vcpus& vcpus);
  // "name+0x12", or nothing. An address of a kernel's has it looked for first.
  std::string Find(uint64_t address, const Vcpus& vcpus);
  // A number that rises with each new table, and the table: of that number or a later one.
  uint64_t revision() const;
  std::shared_ptr<const SymbolTable> table() const;
  // Where the names come from, or why there are none; readable.
  std::string state() const;

 private:
  struct Found {
    SymbolTable table;
    std::string from;
  };

  absl::StatusOr<Found> Look(const Vcpus& vcpus) const;
  // kallsyms, which the kernel moves as it moves itself.
  std::optional<KernelTable> OwnTable(const TrapHandlers& handlers) const;
  absl::StatusOr<Found> FromMemory(const TrapHandlers& handlers) const;
  absl::StatusOr<Found> FromFile(const TrapHandlers& handlers) const;

  const std::string name_;
  const machine::GuestMemory& memory_;
  std::string path_;
  std::optional<SymbolFile> file_;

  mutable absl::Mutex mutex_;
  std::shared_ptr<const SymbolTable> table_ ABSL_GUARDED_BY(mutex_) =
      std::make_shared<SymbolTable>();
  uint64_t revision_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t boot_ ABSL_GUARDED_BY(mutex_) = 0;
  bool wanted_ ABSL_GUARDED_BY(mutex_) = false;     // a Linux kernel's, which were not found yet
  bool searching_ ABSL_GUARDED_BY(mutex_) = false;  // somebody is
  absl::Time next_search_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::string state_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::vm

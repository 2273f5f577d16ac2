// SPDX-License-Identifier: Apache-2.0
// The software TLB: from linear page to host memory, one direct-mapped array for each way of looking at memory.
#pragma once

#include <array>
#include <cstdint>

#include "core/engine/soft/physical_pages.h"
#include "core/x86/paging.h"

namespace trapline::engine::soft {

// Tags are linear page addresses; any of these low bits set makes the fast path miss.
constexpr uint64_t kTagInvalid = 1;

struct TlbEntry {
  uint64_t read_tag = kTagInvalid;
  uint64_t write_tag = kTagInvalid;
  uint64_t addend = 0;         // host address = linear address + addend
  PageState* page = nullptr;
  uint64_t linear = kTagInvalid;  // the page this entry translates, fast path or not
  uint64_t gpa = 0;            // of the page
  bool global = false;
  bool writable = false;       // a write needs no further walk (dirty is set)
};

// Through whose eyes data is accessed.
enum class View : uint8_t {
  kUser,
  kSupervisor,       // with SMAP in force where CR4 has it
  kSupervisorAc,     // EFLAGS.AC lifts SMAP
};
constexpr size_t kViewCount = 3;

class Tlb {
 public:
  static constexpr size_t kEntries = 1024;

  TlbEntry& Slot(uint64_t linear) {
    return entries_[(linear >> x86::kPageShift) & (kEntries - 1)];
  }
  void Flush(bool keep_global) {
    for (TlbEntry& entry : entries_) {
      if (!keep_global || !entry.global) entry = TlbEntry();
    }
  }
  void FlushPage(uint64_t linear) {
    TlbEntry& entry = Slot(linear);
    if (entry.linear == (linear & ~x86::kPageMask)) entry = TlbEntry();
  }

 private:
  std::array<TlbEntry, kEntries> entries_;
};

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// The software TLB: from linear page to host memory, one direct-mapped array for each way of
// looking at memory.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "core/engine/soft/physical_pages.h"
#include "core/x86/paging.h"

namespace trapline::engine::soft {

// Tags are linear page addresses; any of these low bits set makes the fast path miss.
constexpr uint64_t kTagInvalid = 1;

// What every access looks at: two to a cache line.
struct alignas(32) TlbEntry {
  uint64_t read_tag = kTagInvalid;
  uint64_t write_tag = kTagInvalid;
  uint64_t addend = 0;  // host address = linear address + addend
  PageState* page = nullptr;
};

// What is asked only where the tags did not match.
struct TlbDetail {
  uint64_t linear = kTagInvalid;  // the page this entry translates, fast path or not
  uint64_t gpa = 0;               // of the page
  bool global = false;
  bool writable = false;  // a write needs no further walk (dirty is set)
};

// Through whose eyes data is accessed.
enum class View : uint8_t {
  kUser,
  kSupervisor,    // with SMAP in force where CR4 has it
  kSupervisorAc,  // EFLAGS.AC lifts SMAP
};
constexpr size_t kViewCount = 3;

class Tlb {
 public:
  static constexpr size_t kEntries = 1024;

  const TlbEntry& Slot(uint64_t linear) const { return entries_[Index(linear)]; }
  const TlbDetail& Detail(uint64_t linear) const { return details_[Index(linear)]; }

  // Replaces what is in the slot of detail.linear.
  const TlbEntry& Put(const TlbEntry& entry, const TlbDetail& detail) {
    size_t index = Index(detail.linear);
    uint64_t bit = uint64_t{1} << (index % 64);
    used_[index / 64] |= bit;
    if (detail.global) {
      local_[index / 64] &= ~bit;
    } else {
      local_[index / 64] |= bit;
    }
    details_[index] = detail;
    return entries_[index] = entry;
  }
  // Visits only slots that were filled since the last time: address spaces are switched often, and
  // use few pages each.
  void Flush(bool keep_global) {
    for (size_t word = 0; word < kEntries / 64; ++word) {
      uint64_t drop = keep_global ? local_[word] : used_[word];
      used_[word] &= ~drop;
      local_[word] &= ~drop;
      for (; drop != 0; drop &= drop - 1) Clear(word * 64 + std::countr_zero(drop));
    }
  }
  void FlushPage(uint64_t linear) {
    if (Detail(linear).linear == (linear & ~x86::kPageMask)) Clear(Index(linear));
  }

 private:
  static size_t Index(uint64_t linear) { return (linear >> x86::kPageShift) & (kEntries - 1); }
  void Clear(size_t index) {
    entries_[index] = TlbEntry();
    details_[index] = TlbDetail();
  }

  std::array<TlbEntry, kEntries> entries_;
  std::array<TlbDetail, kEntries> details_;
  // Bit per slot: holds something; holds something that is not global.
  std::array<uint64_t, kEntries / 64> used_{}, local_{};
};

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// The comparators of DR0 to DR3.
#include "core/engine/soft/debug.h"

#include "core/engine/soft/cpu.h"

namespace trapline::engine::soft {
namespace {

enum Kind : unsigned { kExecute = 0, kWrite = 1, kPort = 2, kReadWrite = 3 };

struct Comparator {
  bool enabled;
  Kind kind;
  uint64_t start, size;

  bool Overlaps(uint64_t at, uint64_t length) const {
    return at < start + size && start < at + length;
  }
};

Comparator ComparatorOf(const Cpu& cpu, unsigned i) {
  constexpr uint64_t kSizes[] = {1, 2, 8, 4};
  uint64_t dr7 = cpu.dr[7];
  uint64_t size = kSizes[(dr7 >> (18 + 4 * i)) & 3];
  return {.enabled = ((dr7 >> (2 * i)) & 3) != 0,
          .kind = static_cast<Kind>((dr7 >> (16 + 4 * i)) & 3),
          .start = cpu.dr[i] & ~(size - 1),
          .size = size};
}

bool WatchesData(const Comparator& c) {
  return c.enabled && (c.kind == kWrite || c.kind == kReadWrite);
}

}  // namespace

bool BreakpointsEnabled(const Cpu& cpu) { return (cpu.dr[7] & debug::kDr7Enables) != 0; }

uint64_t CodeBreakpoints(const Cpu& cpu, uint64_t linear) {
  uint64_t hits = 0;
  for (unsigned i = 0; i < 4; ++i) {
    Comparator c = ComparatorOf(cpu, i);
    if (c.enabled && c.kind == kExecute && cpu.dr[i] == linear) hits |= 1u << i;
  }
  return hits;
}

bool PageWatched(const Cpu& cpu, uint64_t page_address) {
  if (!BreakpointsEnabled(cpu)) return false;
  for (unsigned i = 0; i < 4; ++i) {
    Comparator c = ComparatorOf(cpu, i);
    if (WatchesData(c) && c.Overlaps(page_address, x86::kPageSize)) return true;
  }
  return false;
}

void NoteDataAccess(Cpu& cpu, uint64_t linear, uint64_t size, bool write) {
  if (!BreakpointsEnabled(cpu)) return;
  for (unsigned i = 0; i < 4; ++i) {
    Comparator c = ComparatorOf(cpu, i);
    if (WatchesData(c) && (write || c.kind == kReadWrite) && c.Overlaps(linear, size))
      cpu.debug_hits |= 1u << i;
  }
}

void NotePortAccess(Cpu& cpu, uint16_t port, unsigned size) {
  if (!BreakpointsEnabled(cpu) || !(cpu.cr4 & x86::cr4::kDe)) return;
  for (unsigned i = 0; i < 4; ++i) {
    Comparator c = ComparatorOf(cpu, i);
    if (c.enabled && c.kind == kPort && c.Overlaps(port, size)) cpu.debug_hits |= 1u << i;
  }
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// What the engine keeps for each physical page of guest RAM: where it is, and whether code was
// decoded from it.
//
// How self-modifying and cross-modifying code is seen. A block remembers the generation of the page
// it was decoded from, and is run only while the two are equal. Whoever writes to a page that holds
// code bumps the generation, so that every vCPU decodes anew before its next block; no vCPU needs
// to be stopped or told.
//
// Two vCPUs race when one decodes a page for the first time while another writes to it. The writer
// stores the data and then looks at `chunks`; the decoder sets its bits in `chunks` and then reads
// the bytes. If neither's first step could be delayed past its second, at least one would see the
// other: either the decoder reads the new bytes, or the writer sees the mark and bumps the
// generation. x86 may delay a store past a later load, and a fence after every guest store would
// cost more than the store. So only the rare side pays: when a page gets its first mark,
// membarrier(2) makes every other running thread pass a full fence, which stands in for the one
// that the writers leave out (Linux, membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED). From then on
// every writer is sure to see that the page has marks, passes a fence of its own and looks again at
// which; so the marks that follow need no membarrier. Marking takes a lock: nobody may rely on a
// mark whose membarrier another thread has yet to make.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "core/engine/engine.h"
#include "core/x86/paging.h"

namespace trapline::engine::soft {

// Bits of PageState::chunks: which 64-byte pieces of a page code was decoded from, so that data
// beside code does not invalidate it.
constexpr uint64_t kChunkShift = 6;
constexpr uint64_t ChunkMask(uint64_t offset, uint64_t size) {
  uint64_t first = offset >> kChunkShift, last = (offset + size - 1) >> kChunkShift;
  return (~uint64_t{0} >> (63 - last)) & (~uint64_t{0} << first);
}

struct PageState {
  std::atomic<uint64_t> chunks{0};
  std::atomic<uint32_t> generation{0};
  std::atomic<bool> shadowed{false};  // changes only while no vCPU executes

  // Makes every vCPU decode this page anew before its next block. Any thread.
  void Invalidate() {
    chunks.store(0, std::memory_order_relaxed);
    generation.fetch_add(1, std::memory_order_release);
  }
  // The same if code was decoded from [offset, offset + size), which was just written; true if so.
  bool InvalidateIfCode(uint64_t offset, uint64_t size) {
    // The store before this load, see above. (An exchange is a fence that the thread sanitizer
    // understands.)
    chunks.fetch_or(0, std::memory_order_seq_cst);
    if ((chunks.load(std::memory_order_relaxed) & ChunkMask(offset, size)) == 0) return false;
    Invalidate();
    return true;
  }
};

// A page of RAM.
struct RamPage {
  std::byte* host = nullptr;  // null: not RAM
  PageState* state = nullptr;
};

// Thread-safe.
class PhysicalPages {
 public:
  // INVALID_ARGUMENT: regions not page-aligned, unsorted or overlapping.
  static absl::Status Check(std::span<const RamRegion> regions);

  // regions must have passed Check. shared: more than one vCPU may run.
  PhysicalPages(std::span<const RamRegion> regions, bool shared);
  ~PhysicalPages();

  // The page that holds gpa.
  RamPage Find(uint64_t gpa) const {
    for (const Region& region : regions_) {
      uint64_t offset = gpa - region.gpa;
      if (offset < region.size) {
        uint64_t page = offset >> x86::kPageShift;
        return {region.host + (page << x86::kPageShift), region.states + page};
      }
    }
    return {};
  }

  // Marks [offset, offset + size) of a page as decoded from; on return no store to it goes
  // unnoticed. Call after reading the generation (an invalidation between the two wipes the mark,
  // but then the generation tells) and before reading the bytes.
  void MarkCode(PageState& page, uint64_t offset, uint64_t size);

  // Invalidates all pages in a range.
  void Invalidate(uint64_t gpa, uint64_t size);

 private:
  struct Region {
    uint64_t gpa, size;
    std::byte* host;
    PageState* states;
  };
  const bool shared_;
  std::vector<Region> regions_;
  absl::Mutex mark_;  // held from a page's first mark to the end of its membarrier
};

// Registers this process for the fence that MarkCode needs. UNAVAILABLE: the host kernel has none.
absl::Status RegisterMembarrier();

}  // namespace trapline::engine::soft

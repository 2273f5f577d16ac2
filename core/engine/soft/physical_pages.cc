// SPDX-License-Identifier: Apache-2.0
// Per-page state of guest RAM, and the fence that makes code marks seen.
#include "core/engine/soft/physical_pages.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/checked.h"

namespace trapline::engine::soft {
namespace {

int Membarrier(int command) { return static_cast<int>(syscall(__NR_membarrier, command, 0, 0)); }

}  // namespace

absl::Status RegisterMembarrier() {
  if (Membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("engine soft needs membarrier(2), Linux 4.14 or later: ", strerror(errno)));
}

absl::Status PhysicalPages::Check(std::span<const RamRegion> regions) {
  uint64_t end = 0;
  for (const RamRegion& region : regions) {
    if ((region.gpa | region.size) & x86::kPageMask || region.size == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("RAM region at 0x", absl::Hex(region.gpa), " is not made of whole pages"));
    }
    auto next = base::CheckedAdd(region.gpa, region.size);
    if (region.gpa < end || !next) {
      return absl::InvalidArgumentError(absl::StrCat("RAM region at 0x", absl::Hex(region.gpa),
                                                     " overlaps its neighbour or is out of order"));
    }
    end = *next;
  }
  return absl::OkStatus();
}

PhysicalPages::PhysicalPages(std::span<const RamRegion> regions, bool shared) : shared_(shared) {
  for (const RamRegion& region : regions) {
    // Zero pages from the kernel are valid PageStates, and cost nothing until the guest touches
    // their RAM as code.
    size_t bytes = (region.size >> x86::kPageShift) * sizeof(PageState);
    void* states = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (states == MAP_FAILED) continue;  // that RAM is then as good as absent
    regions_.push_back({region.gpa, region.size, region.host, static_cast<PageState*>(states)});
  }
}

PhysicalPages::~PhysicalPages() {
  for (const Region& region : regions_) {
    munmap(region.states, (region.size >> x86::kPageShift) * sizeof(PageState));
  }
}

void PhysicalPages::MarkCode(PageState& page, uint64_t offset, uint64_t size) {
  uint64_t mask = ChunkMask(offset, size);
  if (!shared_) {
    page.chunks.fetch_or(mask, std::memory_order_relaxed);
    return;
  }
  absl::MutexLock lock(&mark_);
  if (page.chunks.fetch_or(mask) == 0) Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

void PhysicalPages::Invalidate(uint64_t gpa, uint64_t size) {
  for (const Region& region : regions_) {
    uint64_t start = std::max(gpa, region.gpa);
    uint64_t end = std::min(gpa + size < gpa ? ~uint64_t{0} : gpa + size, region.gpa + region.size);
    for (uint64_t at = start & ~x86::kPageMask; at < end; at += x86::kPageSize) {
      PageState& page = region.states[(at - region.gpa) >> x86::kPageShift];
      if (page.chunks.load() != 0) page.Invalidate();
    }
  }
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Walks the guest's paging structures: 2-level, PAE and 4-level (Intel SDM volume 3, chapter 4).
#pragma once

#include <cstdint>
#include <optional>

#include "core/engine/engine.h"
#include "core/engine/soft/physical_pages.h"

namespace trapline::engine::soft {

// Guest-physical addresses are this wide (CPUID 0x80000008); higher entry bits are reserved.
constexpr unsigned kPhysicalAddressBits = 40;

// The control bits that a walk depends on.
struct PagingMode {
  uint64_t cr0 = 0, cr3 = 0, cr4 = 0, efer = 0;
};

struct PageTranslation {
  uint64_t gpa = 0;       // of the 4 KiB page
  uint64_t size = 0;      // of the page that maps it: 4 KiB to 1 GiB
  bool writable = false;  // by the one who asked, and the dirty bit is set
  bool global = false;
};

struct WalkRequest {
  uint64_t linear;
  Access access;
  bool user;           // CPL 3, or a user-mode access
  bool smap;           // supervisor data accesses to user pages fault
  bool probe = false;  // change nothing, check presence only
};

// A page-fault error code where the walk fails. Accessed and dirty bits are set by atomic
// operations.
struct WalkResult {
  bool ok;
  PageTranslation translation;
  uint32_t error_code;
};

// Thread-safe.
WalkResult WalkPages(const PhysicalPages& pages, const PagingMode& mode,
                     const WalkRequest& request);

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Decoded blocks and the cache of them that each vCPU keeps for itself.
//
// A block is straight-line code from one place, seen in one mode. It is found by its linear
// address, the physical page behind that, and the mode; it is run only while the page's generation
// is still the one it was decoded at (physical_pages.h). Blocks end at a page boundary; an
// instruction that crosses one is a block of its own that watches both pages.
//
// A direct branch remembers the block it led to. Following such a link skips the search, which is
// right as long as the linear page still leads to the same physical one: the link is valid for one
// epoch of the vCPU's TLB only, which for code in global pages (a kernel's) outlasts switches of
// address space.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/engine/soft/op.h"
#include "core/engine/soft/physical_pages.h"

namespace trapline::engine::soft {

// What a block's decoding depends on besides its bytes.
struct BlockMode {
  uint8_t code_bits = 16;  // 16, 32 or 64
  bool user = false;       // CPL 3: fetch permission differs
  bool single = false;     // one instruction only (single-step, interrupt shadow)

  uint32_t Key() const { return code_bits | (user ? 128u : 0u) | (single ? 256u : 0u); }
};

// How many guest instructions an Op stands for: the end of a block none, a fused pair two.
inline unsigned InstructionsOf(const Op& op) {
  return op.length == 0 ? 0 : op.flags & kOpPair ? 2 : 1;
}

struct Block;

struct BlockLink {
  Block* target = nullptr;
  uint64_t epoch = 0;
};

struct Block {
  uint64_t linear = 0;
  uint64_t rip = 0;  // the same as an offset in CS
  uint64_t gpa = 0;
  uint32_t mode_key = 0;
  uint32_t generation = 0, second_generation = 0;
  PageState* page = nullptr;
  PageState* second_page = nullptr;  // of an instruction that crosses
  uint32_t count = 0;                // guest instructions
  bool global = false;               // in a global page
  BlockLink links[2];                // taken, fall-through
  std::vector<Op> ops;               // the last one's handler does not return op + 1

  bool Valid() const {
    return page->generation.load(std::memory_order_acquire) == generation &&
           (!second_page ||
            second_page->generation.load(std::memory_order_acquire) == second_generation);
  }
};

// Not thread-safe: a vCPU's own.
class BlockCache {
 public:
  BlockCache() : buckets_(kBuckets) {}

  // The block with this identity, valid or stale; null if there is none.
  Block* Find(uint64_t linear, uint64_t gpa, uint32_t mode_key) {
    for (auto& block : buckets_[Hash(linear, gpa)]) {
      if (block->linear == linear && block->gpa == gpa && block->mode_key == mode_key) {
        return block.get();
      }
    }
    return nullptr;
  }
  // A new, empty block with this identity.
  Block* Add(uint64_t linear, uint64_t gpa, uint32_t mode_key) {
    auto block = std::make_unique<Block>();
    block->linear = linear;
    block->gpa = gpa;
    block->mode_key = mode_key;
    ++size_;
    return buckets_[Hash(linear, gpa)].emplace_back(std::move(block)).get();
  }
  bool Full() const { return size_ >= kMaxBlocks; }
  void Clear() {
    for (auto& bucket : buckets_) bucket.clear();
    size_ = 0;
  }

 private:
  static constexpr size_t kBuckets = 1 << 15;
  static constexpr size_t kMaxBlocks = 1 << 17;

  static size_t Hash(uint64_t linear, uint64_t gpa) {
    return ((linear ^ (gpa >> 12)) * 0x9e3779b97f4a7c15u) >> (64 - 15);
  }

  std::vector<std::vector<std::unique_ptr<Block>>> buckets_;
  size_t size_ = 0;
};

}  // namespace trapline::engine::soft

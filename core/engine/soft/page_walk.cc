// SPDX-License-Identifier: Apache-2.0
// The page walk. One loop serves all formats: a format is a list of levels, each with its index
// bits and entry size.
//
// Another vCPU may change entries while we walk. Each entry is read once; accessed and dirty bits
// are added by compare-and-exchange against what was read, and a lost race restarts the walk, as
// processors do.
#include "core/engine/soft/page_walk.h"

#include <atomic>

#include "core/x86/exceptions.h"
#include "core/x86/flags.h"

namespace trapline::engine::soft {
namespace {

namespace pte = x86::pte;

constexpr uint64_t kAddressMask = ((uint64_t{1} << kPhysicalAddressBits) - 1) & ~x86::kPageMask;
constexpr uint64_t kPatLarge = 1u << 12;  // the PAT bit of a large page

struct Level {
  unsigned shift;  // of the linear address
  unsigned index_bits;
  bool large_allowed;
};

struct Format {
  unsigned entry_size;
  unsigned level_count;
  Level levels[4];
};

constexpr Format kFourLevel = {
    8, 4, {{39, 9, false}, {30, 9, true}, {21, 9, true}, {12, 9, false}}};
constexpr Format kPae = {8, 3, {{30, 2, false}, {21, 9, true}, {12, 9, false}, {}}};
constexpr Format kTwoLevel = {4, 2, {{22, 10, true}, {12, 10, false}, {}, {}}};

const Format& FormatOf(const PagingMode& mode) {
  if (mode.efer & x86::efer::kLma) return kFourLevel;
  return mode.cr4 & x86::cr4::kPae ? kPae : kTwoLevel;
}

uint64_t ReadEntry(std::byte* host, unsigned size) {
  if (size == 4) return __atomic_load_n(reinterpret_cast<uint32_t*>(host), __ATOMIC_ACQUIRE);
  return __atomic_load_n(reinterpret_cast<uint64_t*>(host), __ATOMIC_ACQUIRE);
}

bool SetBits(std::byte* host, unsigned size, uint64_t seen, uint64_t bits) {
  if (size == 4) {
    auto expected = static_cast<uint32_t>(seen);
    return __atomic_compare_exchange_n(reinterpret_cast<uint32_t*>(host), &expected,
                                       static_cast<uint32_t>(seen | bits), false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
  }
  return __atomic_compare_exchange_n(reinterpret_cast<uint64_t*>(host), &seen, seen | bits, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

class Walk {
 public:
  Walk(const PhysicalPages& pages, const PagingMode& mode, const WalkRequest& request)
      : pages_(pages), mode_(mode), request_(request), format_(FormatOf(mode)) {}

  // Nothing: lost a race, walk again.
  std::optional<WalkResult> Once() {
    uint64_t table = RootAddress();
    for (unsigned i = 0; i < format_.level_count; ++i) {
      const Level& level = format_.levels[i];
      uint64_t index = (request_.linear >> level.shift) & ((uint64_t{1} << level.index_bits) - 1);
      uint64_t address = table + index * format_.entry_size;
      RamPage page = pages_.Find(address);
      if (!page.host) return Fail(0);  // a table outside RAM reads as not present
      std::byte* host = page.host + (address & x86::kPageMask);
      uint64_t entry = ReadEntry(host, format_.entry_size);
      if (!(entry & pte::kPresent)) return Fail(0);
      bool pdpte = IsPaePointerTable(i);
      bool leaf = i + 1 == format_.level_count ||
                  (level.large_allowed && (entry & pte::kPageSizeBit) && LargePagesOn());
      if (!request_.probe && ReservedBitsSet(entry, i, leaf, pdpte)) {
        return Fail(x86::page_fault::kPresent | x86::page_fault::kReserved);
      }
      if (!pdpte) Accumulate(entry);
      if (leaf) return Finish(entry, level, host);
      if (!request_.probe && !pdpte && !(entry & pte::kAccessed) &&
          !SetBits(host, format_.entry_size, entry, pte::kAccessed)) {
        return std::nullopt;
      }
      table = entry & kAddressMask;
    }
    return Fail(0);
  }

 private:
  uint64_t RootAddress() const {
    return IsPaePointerTable(0) ? mode_.cr3 & 0xffffffe0 : mode_.cr3 & kAddressMask;
  }
  bool IsPaePointerTable(unsigned level) const { return &format_ == &kPae && level == 0; }
  bool LargePagesOn() const { return &format_ != &kTwoLevel || (mode_.cr4 & x86::cr4::kPse); }
  bool NxOn() const { return (mode_.efer & x86::efer::kNxe) && format_.entry_size == 8; }

  bool ReservedBitsSet(uint64_t entry, unsigned level, bool leaf, bool pdpte) const {
    if (format_.entry_size == 4) {
      // 4 MiB pages by PSE-36: bits 13 to 20 carry address bits 32 to 39, bit 21 is reserved.
      return leaf && level == 0 && (entry & (uint64_t{1} << 21));
    }
    uint64_t reserved = 0x000fffffffffffff & ~((uint64_t{1} << kPhysicalAddressBits) - 1);
    if (&format_ == &kPae) reserved |= 0x7ff0000000000000;
    if (!NxOn()) reserved |= pte::kNoExecute;
    if (pdpte) reserved |= pte::kNoExecute | 0x1e6;
    if (&format_ == &kFourLevel && level == 0) reserved |= pte::kPageSizeBit;
    if (leaf && level + 1 < format_.level_count) {
      reserved |= ((uint64_t{1} << format_.levels[level].shift) - 1) & ~x86::kPageMask & ~kPatLarge;
    }
    return (entry & reserved) != 0;
  }

  void Accumulate(uint64_t entry) {
    writable_ = writable_ && (entry & pte::kWritable);
    user_ = user_ && (entry & pte::kUser);
    no_execute_ = no_execute_ || (NxOn() && (entry & pte::kNoExecute));
  }

  bool Allowed() const {
    bool write = request_.access == Access::kWrite;
    bool fetch = request_.access == Access::kFetch;
    if (fetch && no_execute_) return false;
    if (request_.user) return user_ && (!write || writable_);
    if (user_ && fetch && (mode_.cr4 & x86::cr4::kSmep)) return false;
    if (user_ && !fetch && request_.smap) return false;
    return !write || writable_ || !(mode_.cr0 & x86::cr0::kWp);
  }

  std::optional<WalkResult> Finish(uint64_t entry, const Level& level, std::byte* host) {
    bool write = request_.access == Access::kWrite;
    if (!request_.probe) {
      if (!Allowed()) return Fail(x86::page_fault::kPresent);
      uint64_t wanted = pte::kAccessed | (write ? pte::kDirty : 0);
      if ((entry & wanted) != wanted) {
        if (!SetBits(host, format_.entry_size, entry, wanted)) return std::nullopt;
        entry |= wanted;
      }
    }
    WalkResult result{true, {}, 0};
    uint64_t size = uint64_t{1} << level.shift;
    uint64_t base = entry & kAddressMask & ~(size - 1);
    if (format_.entry_size == 4) {
      base = entry & 0xffffffff & ~(size - 1);
      if (size > x86::kPageSize) base |= ((entry >> 13) & 0xff) << 32;
    }
    result.translation.gpa = base | (request_.linear & (size - 1) & ~x86::kPageMask);
    result.translation.size = size;
    bool may_write = request_.user ? writable_ : writable_ || !(mode_.cr0 & x86::cr0::kWp);
    result.translation.writable = may_write && (entry & pte::kDirty);
    result.translation.global = (entry & pte::kGlobal) && (mode_.cr4 & x86::cr4::kPge);
    return result;
  }

  WalkResult Fail(uint32_t code) const {
    namespace pf = x86::page_fault;
    if (request_.access == Access::kWrite) code |= pf::kWrite;
    if (request_.user) code |= pf::kUser;
    bool reports_fetch = NxOn() || (mode_.cr4 & x86::cr4::kSmep);
    if (request_.access == Access::kFetch && reports_fetch) code |= pf::kFetch;
    return {false, {}, code};
  }

  const PhysicalPages& pages_;
  const PagingMode& mode_;
  const WalkRequest& request_;
  const Format& format_;
  bool writable_ = true, user_ = true, no_execute_ = false;
};

}  // namespace

WalkResult WalkPages(const PhysicalPages& pages, const PagingMode& mode,
                     const WalkRequest& request) {
  if (!(mode.cr0 & x86::cr0::kPg)) {
    uint64_t gpa = request.linear & 0xffffffff & ~x86::kPageMask;
    return {true, {gpa, x86::kPageSize, true, false}, 0};
  }
  for (;;) {
    if (auto result = Walk(pages, mode, request).Once()) return *result;
  }
}

}  // namespace trapline::engine::soft

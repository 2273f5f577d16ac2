// SPDX-License-Identifier: Apache-2.0
// The CPU's memory accesses beyond the fast path: translation, page crossing, devices, rewritten
// pages, segments.
#include <algorithm>

#include "core/engine/soft/cpu.h"
#include "core/engine/soft/debug.h"

namespace trapline::engine::soft {
namespace {

// Devices are accessed in pieces of 8, 4, 2 or 1 bytes.
unsigned DevicePiece(size_t left) { return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1; }

}  // namespace

const TlbEntry& Cpu::Translate(uint64_t linear, Access access) {
  if (LongMode() && !x86::Canonical(linear)) {
    throw Fault{x86::Vector::kGeneralProtection, 0, 0, true, 0};
  }
  const TlbDetail& known = tlb_->Detail(linear);
  uint64_t page_address = linear & ~x86::kPageMask;
  bool write = access == Access::kWrite;
  if (known.linear == page_address && (!write || known.writable)) return tlb_->Slot(linear);

  bool user = view_ == View::kUser;
  WalkResult walk = WalkPages(
      pages, Paging(),
      {linear, access, user, view_ == View::kSupervisor && (cr4 & x86::cr4::kSmap) != 0, false});
  if (!walk.ok) throw Fault{x86::Vector::kPageFault, walk.error_code, linear, false, 0};
  if (walk.translation.size > x86::kPageSize) {
    large_low_ = std::min(large_low_, linear & ~(walk.translation.size - 1));
    large_high_ = std::max(large_high_, linear | (walk.translation.size - 1));
  }

  RamPage ram = pages.Find(walk.translation.gpa);
  TlbDetail detail{page_address, walk.translation.gpa, walk.translation.global,
                   walk.translation.writable};
  TlbEntry entry;
  entry.page = ram.state;
  entry.addend = reinterpret_cast<uint64_t>(ram.host) - page_address;
  bool direct = ram.host && !ram.state->shadowed.load(std::memory_order_relaxed) &&
                !PageWatched(*this, page_address);
  if (direct) entry.read_tag = page_address;
  if (direct && detail.writable) entry.write_tag = page_address;
  return tlb_->Put(entry, detail);
}

void Cpu::ReadPage(uint64_t linear, std::byte* bytes, size_t size) {
  const TlbEntry& entry = Translate(linear, Access::kRead);
  uint64_t gpa = tlb_->Detail(linear).gpa + (linear & x86::kPageMask);
  NoteDataAccess(*this, linear, size, false);
  if (!entry.page) {
    for (size_t done = 0; done < size;) {
      unsigned piece = DevicePiece(size - done);
      uint64_t value = host.ReadMmio(gpa + done, piece);
      std::memcpy(bytes + done, &value, piece);
      done += piece;
    }
    return;
  }
  uint64_t from = entry.addend + linear, to = reinterpret_cast<uint64_t>(bytes);
  switch (size) {
    case 2:
      RawStore(to, RawLoad<uint16_t>(from));
      break;
    case 4:
      RawStore(to, RawLoad<uint32_t>(from));
      break;
    case 8:
      RawStore(to, RawLoad<uint64_t>(from));
      break;
    default:
      for (size_t i = 0; i < size; ++i) bytes[i] = RawLoad<std::byte>(from + i);
  }
  if (entry.page->shadowed.load(std::memory_order_relaxed))
    host.OverlayOriginal(gpa, {bytes, size}, false);
}

void Cpu::WritePage(uint64_t linear, const std::byte* bytes, size_t size) {
  const TlbEntry& entry = Translate(linear, Access::kWrite);
  uint64_t gpa = tlb_->Detail(linear).gpa + (linear & x86::kPageMask);
  NoteDataAccess(*this, linear, size, true);
  if (!entry.page) {
    for (size_t done = 0; done < size;) {
      unsigned piece = DevicePiece(size - done);
      uint64_t value = 0;
      std::memcpy(&value, bytes + done, piece);
      host.WriteMmio(gpa + done, piece, value);
      done += piece;
    }
    return;
  }
  PageState* page = entry.page;
  uint64_t host_address = entry.addend + linear;
  if (page->shadowed.load(std::memory_order_relaxed)) {
    // Alone until the bytes are written, so that nobody rewrites the site anew in between.
    exclusive.Run([&] {
      host.BeforeShadowedWrite(gpa, size);
      WriteHost(host_address, bytes, size);
      page->InvalidateIfCode(linear & x86::kPageMask, size);
    });
    leave_block = true;
    return;
  }
  WriteHost(host_address, bytes, size);
  NoteStore(page, linear, size);
}

void Cpu::WriteHost(uint64_t host_address, const std::byte* bytes, size_t size) {
  switch (size) {
    case 2:
      RawStore(host_address, RawLoad<uint16_t>(reinterpret_cast<uint64_t>(bytes)));
      break;
    case 4:
      RawStore(host_address, RawLoad<uint32_t>(reinterpret_cast<uint64_t>(bytes)));
      break;
    case 8:
      RawStore(host_address, RawLoad<uint64_t>(reinterpret_cast<uint64_t>(bytes)));
      break;
    default:
      for (size_t i = 0; i < size; ++i) RawStore(host_address + i, bytes[i]);
  }
}

void Cpu::ReadLinear(uint64_t linear, void* bytes, size_t size) {
  auto* out = static_cast<std::byte*>(bytes);
  if (!LongMode()) linear = static_cast<uint32_t>(linear);
  size_t first = std::min<size_t>(size, x86::kPageSize - (linear & x86::kPageMask));
  if (first < size) {
    // Fault on the lower page first, and before a device is read.
    Translate(linear, Access::kRead);
    uint64_t second = linear + first;
    if (!LongMode()) second = static_cast<uint32_t>(second);
    Translate(second, Access::kRead);
    ReadPage(linear, out, first);
    ReadPage(second, out + first, size - first);
    return;
  }
  ReadPage(linear, out, size);
}

void Cpu::WriteLinear(uint64_t linear, const void* bytes, size_t size) {
  const auto* in = static_cast<const std::byte*>(bytes);
  if (!LongMode()) linear = static_cast<uint32_t>(linear);
  size_t first = std::min<size_t>(size, x86::kPageSize - (linear & x86::kPageMask));
  if (first < size) {
    ProbeWrite(linear, size);
    uint64_t second = linear + first;
    if (!LongMode()) second = static_cast<uint32_t>(second);
    WritePage(linear, in, first);
    WritePage(second, in + first, size - first);
    return;
  }
  WritePage(linear, in, size);
}

void Cpu::ProbeWrite(uint64_t linear, size_t size) {
  Translate(linear, Access::kWrite);
  uint64_t last = linear + size - 1;
  if (!LongMode()) last = static_cast<uint32_t>(last);
  if ((linear ^ last) & ~x86::kPageMask) Translate(last & ~x86::kPageMask, Access::kWrite);
}

std::byte* Cpu::HostForRead(uint64_t linear, size_t size) {
  if (((linear & x86::kPageMask) + size) > x86::kPageSize) return nullptr;
  const TlbEntry& entry = Translate(linear, Access::kRead);
  if (entry.read_tag != (linear & ~x86::kPageMask)) return nullptr;
  return reinterpret_cast<std::byte*>(entry.addend + linear);
}

std::byte* Cpu::HostForWrite(uint64_t linear, size_t size) {
  if (((linear & x86::kPageMask) + size) > x86::kPageSize) return nullptr;
  const TlbEntry& entry = Translate(linear, Access::kWrite);
  if (entry.write_tag != (linear & ~x86::kPageMask)) return nullptr;
  return reinterpret_cast<std::byte*>(entry.addend + linear);
}

uint64_t Cpu::CheckedAddress(const Op* op, Access access, unsigned size) {
  uint64_t offset = Offset(op);
  if (op->address_size == 4) offset = static_cast<uint32_t>(offset);
  if (op->address_size == 2) offset = static_cast<uint16_t>(offset);
  if (Code64()) return offset + Get<uint64_t>(op->segment_base);
  return SegmentAddress(static_cast<x86::SegmentName>(op->segment), offset, access, size);
}

uint64_t Cpu::SegmentAddress(x86::SegmentName name, uint64_t offset, Access access, unsigned size) {
  namespace attr = x86::segment_attribute;
  const x86::Segment& s = segment[name];
  if (Code64()) return (name >= x86::kFs ? s.base : 0) + offset;
  x86::Vector vector =
      name == x86::kSs ? x86::Vector::kStackFault : x86::Vector::kGeneralProtection;
  if (ProtectedMode() && !Virtual8086()) {
    if (!(s.attributes & attr::kPresent))
      Raise(vector == x86::Vector::kStackFault ? vector : x86::Vector::kGeneralProtection);
    bool code = s.attributes & attr::kCode;
    bool bit1 = s.attributes & attr::kWritableOrReadable;
    if (access == Access::kWrite && (code || !bit1)) Raise(vector);
    if (access == Access::kRead && code && !bit1) Raise(vector);
  }
  uint64_t last = offset + size - 1;
  bool expand_down = (s.attributes & (attr::kCode | attr::kExpandDownOrConforming)) ==
                     attr::kExpandDownOrConforming;
  if (expand_down) {
    uint64_t top = s.attributes & attr::kDefault32 ? 0xffffffff : 0xffff;
    if (offset <= s.limit || last > top) Raise(vector);
  } else if (last > s.limit) {
    Raise(vector);
  }
  return static_cast<uint32_t>(s.base + offset);
}

Cpu::FetchPage Cpu::Fetch(uint64_t linear) {
  bool user = cpl == 3;
  uint64_t page_address = linear & ~x86::kPageMask;
  FetchEntry& entry = fetch_[user][(linear >> x86::kPageShift) & (kFetchEntries - 1)];
  if (entry.tag == page_address) return entry.page;
  if (LongMode() && !x86::Canonical(linear))
    throw Fault{x86::Vector::kGeneralProtection, 0, 0, false, 0};
  WalkResult walk = WalkPages(pages, Paging(), {linear, Access::kFetch, user, false, false});
  if (!walk.ok) throw Fault{x86::Vector::kPageFault, walk.error_code, linear, false, 0};
  if (walk.translation.size > x86::kPageSize) {
    large_low_ = std::min(large_low_, linear & ~(walk.translation.size - 1));
    large_high_ = std::max(large_high_, linear | (walk.translation.size - 1));
  }
  fetched_.set(FetchedBit(linear));
  entry.tag = page_address;
  entry.page = {walk.translation.gpa, pages.Find(walk.translation.gpa), walk.translation.global};
  return entry.page;
}

void Cpu::FlushTlb(bool keep_global) {
  for (Tlb& tlb : tlbs_) tlb.Flush(keep_global);
  for (auto& view : fetch_) {
    for (FetchEntry& entry : view) {
      if (!keep_global || !entry.page.global) entry.tag = kTagInvalid;
    }
  }
  ++tlb_epoch;
  if (!keep_global) {
    ++global_epoch;
    fetched_.reset();
    large_low_ = ~uint64_t{0};
    large_high_ = 0;
  }
}

void Cpu::FlushPage(uint64_t linear) {
  if (linear >= large_low_ && linear <= large_high_) {
    FlushTlb(false);
    return;
  }
  for (Tlb& tlb : tlbs_) tlb.FlushPage(linear);
  for (auto& view : fetch_) {
    view[(linear >> x86::kPageShift) & (kFetchEntries - 1)].tag = kTagInvalid;
  }
  if (fetched_.test(FetchedBit(linear))) {
    ++tlb_epoch;
    ++global_epoch;
  }
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// The software CPU's state, and the primitives that every instruction handler is written with.
//
// One Cpu is one vCPU and belongs to its thread, but for `attention`, `retired` and what is behind
// PhysicalPages. Handlers read and write guest registers and memory through it. A fault is thrown
// (fault.h) before anything the guest can see was changed.
#pragma once

#include <atomic>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "core/engine/engine.h"
#include "core/engine/exclusive.h"
#include "core/engine/soft/block.h"
#include "core/engine/soft/fault.h"
#include "core/engine/soft/fpu/fpu_state.h"
#include "core/engine/soft/lazy_flags.h"
#include "core/engine/soft/op.h"
#include "core/engine/soft/page_walk.h"
#include "core/engine/soft/raw_memory.h"
#include "core/engine/soft/tlb.h"
#include "core/engine/vcpu_host.h"
#include "core/x86/flags.h"
#include "core/x86/registers.h"

namespace trapline::engine::soft {

// Bits of Cpu::attention: why a vCPU shall come to its dispatcher.
enum Attention : uint32_t {
  kAttentionKick = 1,       // leave Run
  kAttentionInterrupt = 2,  // an interrupt or NMI may be deliverable
  kAttentionExclusive = 4,  // somebody wants to be alone
  kAttentionSingle =
      8,  // each instruction comes to the dispatcher: single-step, breakpoints, interrupt shadow
};

// The MSRs that the engine keeps as plain storage.
struct ModelRegisters {
  uint64_t star = 0, lstar = 0, cstar = 0, fmask = 0, kernel_gs_base = 0, tsc_aux = 0;
  uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  uint64_t pat = 0x0007040600070406;
  uint64_t tsc_offset = 0, tsc_adjust = 0;
  uint64_t misc_enable = 1;  // fast strings
  uint64_t mcg_status = 0;
  uint64_t mc0[4] = {};
  uint64_t mtrr_default = 0xc06;  // on, fixed ranges on, write-back
  uint64_t mtrr_fixed[11] = {};
  uint64_t mtrr_variable[16] = {};
};

class Cpu {
 public:
  Cpu(uint32_t apic_id, const CpuConfig& config, VcpuHost& host, PhysicalPages& pages,
      Exclusive& exclusive);

  // --- Architectural state ---
  uint64_t r[kSlotCount] = {};  // general registers, then RegisterSlot
  uint64_t rip = 0;             // true in the dispatcher; within a block use RipOf
  LazyFlags lazy;
  uint64_t rflags_rest = x86::rflags::kReserved1;  // RFLAGS without the six arithmetic flags
  uint8_t cpl = 0;
  FpuState fpu;
  x86::Segment segment[x86::kSegmentCount];
  x86::Segment ldtr, tr;
  x86::DescriptorTable gdtr, idtr;
  uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, efer = 0;
  uint64_t dr[8] = {};
  ModelRegisters msr;

  // --- The engine's own ---
  const uint32_t apic_id;
  const CpuConfig& config;
  VcpuHost& host;
  PhysicalPages& pages;
  Exclusive& exclusive;
  Block* block = nullptr;                // the one that runs
  const Op* current = nullptr;           // of it, the Op that runs; null between blocks
  BlockLink* unresolved_link = nullptr;  // what the dispatcher shall fill in with the next block
  std::atomic<uint32_t> attention{0};
  std::atomic<uint64_t> retired{0};
  // Count the changes to where linear pages of code lead: all of them, and those that global pages
  // see as well. No value is ever in both.
  uint64_t tlb_epoch = 1, global_epoch = uint64_t{1} << 63;
  bool leave_block = false;       // a store hit code: decode anew before the next instruction
  bool interrupt_shadow = false;  // hold interrupts for one instruction (STI, MOV SS)
  bool debug_shadow = false;      // hold debug traps and breakpoints likewise (MOV SS, POP SS)
  bool step_at_end =
      false;  // whether this instruction is single-stepped shows in TF behind it, not before
  uint64_t debug_hits = 0;   // DR6 bits of watchpoints that this instruction hit (debug.h)
  bool nmi_blocked = false;  // until IRET
  bool nmi_latched = false;  // for when it ends
  bool halted = false;       // the block ended with HLT
  uint8_t code_bits = 16;    // 16, 32 or 64
  uint32_t pauses = 0;       // PAUSE instructions so far

  // --- Registers ---
  template <typename T>
  T Get(uint8_t offset) const {
    T value;
    std::memcpy(&value, reinterpret_cast<const char*>(r) + offset, sizeof value);
    return value;
  }
  // Writing 32 bits clears the upper half; smaller writes leave the rest. (Outside 64-bit mode
  // nobody sees the upper half.)
  template <typename T>
  void Set(uint8_t offset, T value) {
    if constexpr (sizeof(T) == 4) {
      uint64_t wide = value;
      std::memcpy(reinterpret_cast<char*>(r) + offset, &wide, sizeof wide);
    } else {
      std::memcpy(reinterpret_cast<char*>(r) + offset, &value, sizeof value);
    }
  }
  uint64_t Rflags() const { return rflags_rest | lazy.Materialize(); }
  // Replaces RFLAGS as a whole; the caller has applied the privilege rules.
  void SetRflags(uint64_t value);

  // --- Modes ---
  bool LongMode() const { return (efer & x86::efer::kLma) != 0; }
  bool Code64() const { return code_bits == 64; }
  bool ProtectedMode() const { return (cr0 & x86::cr0::kPe) != 0; }
  bool Virtual8086() const { return (rflags_rest & x86::rflags::kVm) != 0; }
  bool RealMode() const { return !ProtectedMode(); }
  unsigned Iopl() const { return (rflags_rest & x86::rflags::kIopl) >> x86::rflags::kIoplShift; }
  // Recomputes what is derived from CS, CPL, RFLAGS and the control registers. Call after changing
  // any of them.
  void UpdateMode();
  BlockMode CurrentBlockMode(bool single) const { return {code_bits, cpl == 3, single}; }
  PagingMode Paging() const { return {cr0, cr3, cr4, efer}; }
  // 8, 4 or 2: how much of RSP push and pop use.
  unsigned StackWidth() const {
    if (Code64()) return 8;
    return segment[x86::kSs].attributes & x86::segment_attribute::kDefault32 ? 4 : 2;
  }
  // Makes interrupts be looked at again, e.g. since IF was set.
  void RecheckInterrupts() { attention.fetch_or(kAttentionInterrupt, std::memory_order_relaxed); }

  // --- Where we are ---
  // In 16-bit code, too, what is not a branch with 16-bit operands goes on in all of EIP.
  uint64_t RipMask() const { return code_bits == 64 ? ~uint64_t{0} : 0xffffffff; }
  uint64_t RipOf(const Op* op) const { return block->rip + op->offset; }
  uint64_t NextRipOf(const Op* op) const { return block->rip + op->offset + op->length; }
  // Runs the Op behind this one: the way out of a handler that cannot end the block. As a handler's
  // last act it is a jump to the next handler, which the host predicts better than a way back to
  // the dispatcher's loop. (Returning op + 1 is as right, and leaves the jump to that loop.)
  // Unoptimized builds nest at most as deep as a block is long.
  const Op* Then(const Op* op) {
    current = op + 1;
    return current->run(*this, current);
  }
  // The same after a store, which may have hit code.
  const Op* Next(const Op* op) {
    if (leave_block) [[unlikely]]
      return Leave(op);
    return Then(op);
  }
  // Goes to the dispatcher, on at the next instruction.
  const Op* Leave(const Op* op);
  // Takes op and those behind it in the block back out of `retired`.
  void Uncount(const Op* op);
  // A direct branch as the last instruction of its block: to op->imm, or on behind op.
  const Op* Taken(const Op* op) { return Branch(op->imm, 0); }
  const Op* NotTaken(const Op* op) { return Branch(NextRipOf(op) & RipMask(), 1); }
  // #GP(0) unless the near branch target is canonical, or within CS.
  void CheckBranchTarget(uint64_t target) const {
    bool good = Code64() ? x86::Canonical(target) : target <= segment[x86::kCs].limit;
    if (!good) RaiseGp();
  }
  // True if a long instruction shall stop between two of its steps.
  bool AttentionPending() const { return attention.load(std::memory_order_relaxed) != 0; }
  // Goes to the dispatcher and comes back to op itself: a repeated instruction that is not done.
  const Op* Repeat(const Op* op);
  // A branch to a computed address, as wide as its operand.
  const Op* Jump(const Op*, uint64_t target) { return BranchIndirect(target); }
  // Goes to the dispatcher, on at `rip`, which the handler has set; the last instruction of its
  // block.
  const Op* Dispatch() {
    unresolved_link = nullptr;
    return nullptr;
  }
  // A direct branch within the current mode; link is 0 (taken) or 1 (fall-through).
  const Op* Branch(uint64_t target, unsigned link) {
    BlockLink& known = block->links[link];
    Block* next = known.target;
    if (next && known.epoch == EpochOf(*next) && attention.load(std::memory_order_relaxed) == 0 &&
        next->Valid()) [[likely]] {
      return Enter(next);
    }
    rip = target;
    unresolved_link = &known;
    return nullptr;
  }
  // A branch to a computed address in the current mode.
  const Op* BranchIndirect(uint64_t target);
  // The epoch that links to this block are good for.
  uint64_t EpochOf(const Block& target) const { return target.global ? global_epoch : tlb_epoch; }
  const Op* Enter(Block* next) {
    block = next;
    retired.store(retired.load(std::memory_order_relaxed) + next->count, std::memory_order_relaxed);
    return next->ops.data();
  }

  // --- Memory by linear address ---
  template <typename T>
  T Load(uint64_t linear) {
    const TlbEntry& entry = tlb_->Slot(linear);
    if (entry.read_tag == ((linear + sizeof(T) - 1) & ~x86::kPageMask)) [[likely]] {
      return RawLoad<T>(entry.addend + linear);
    }
    return LoadSlowly<T>(linear);
  }
  template <typename T>
  void Store(uint64_t linear, T value) {
    const TlbEntry& entry = tlb_->Slot(linear);
    if (entry.write_tag == ((linear + sizeof(T) - 1) & ~x86::kPageMask)) [[likely]] {
      RawStore<T>(entry.addend + linear, value);
      NoteStore(entry.page, linear, sizeof(T));
      return;
    }
    StoreSlowly<T>(linear, value);
  }
  // Reads, lets change(old) say what to write, writes; returns old. Write permission is checked
  // first.
  template <typename T, typename F>
  T ReadModifyWrite(uint64_t linear, F change) {
    const TlbEntry& entry = tlb_->Slot(linear);
    if (entry.write_tag == ((linear + sizeof(T) - 1) & ~x86::kPageMask)) [[likely]] {
      T old = RawLoad<T>(entry.addend + linear);
      RawStore<T>(entry.addend + linear, change(old));
      NoteStore(entry.page, linear, sizeof(T));
      return old;
    }
    return ModifySlowly<T>(linear, change);
  }
  // Atomic against all other vCPUs. change may be called several times.
  template <typename T, typename F>
  T AtomicRmw(uint64_t linear, F change) {
    const TlbEntry& entry = tlb_->Slot(linear);
    if (entry.write_tag == ((linear + sizeof(T) - 1) & ~x86::kPageMask) && !SplitsLine<T>(linear))
        [[likely]] {
      uint64_t host_address = entry.addend + linear;
      T old = RawLoad<T>(host_address);
      while (!RawCompareExchange<T>(host_address, &old, change(old))) {
      }
      NoteStore(entry.page, linear, sizeof(T));
      return old;
    }
    return AtomicRmwSlowly<T>(linear, change);
  }

  template <typename T>
  T AtomicExchange(uint64_t linear, T value) {
    return AtomicRmw<T>(linear, [value](T) { return value; });
  }
  // Stores desired if *expected is there; else *expected becomes what is. Needs write permission
  // either way. T of sixteen bytes must be aligned.
  template <typename T>
  bool AtomicCompareExchange(uint64_t linear, T* expected, T desired) {
    if (tlb_->Slot(linear).write_tag != ((linear + sizeof(T) - 1) & ~x86::kPageMask)) {
      ProbeWrite(linear, sizeof(T));
    }
    const TlbEntry& entry = tlb_->Slot(linear);
    if (entry.write_tag == ((linear + sizeof(T) - 1) & ~x86::kPageMask) && !SplitsLine<T>(linear))
        [[likely]] {
      bool done = RawCompareExchange<T>(entry.addend + linear, expected, desired);
      NoteStore(entry.page, linear, sizeof(T));
      return done;
    }
    T wanted = *expected;
    exclusive.Run([&] {
      *expected = ModifySlowly<T>(linear, [&](T old) { return old == wanted ? desired : old; });
    });
    return *expected == wanted;
  }

  // Any size, any alignment. A write checks both pages before it changes either.
  void ReadLinear(uint64_t linear, void* bytes, size_t size);
  void WriteLinear(uint64_t linear, const void* bytes, size_t size);
  // Faults if [linear, linear + size) is not writable; afterwards a store there does not fault.
  void ProbeWrite(uint64_t linear, size_t size);
  // A host pointer to [linear, linear + size) within one page that plain accesses may use, or null.
  std::byte* HostForRead(uint64_t linear, size_t size);
  std::byte* HostForWrite(uint64_t linear, size_t size);  // NoteWrite afterwards
  void NoteWrite(uint64_t linear, size_t size) { NoteStore(tlb_->Slot(linear).page, linear, size); }
  // Accesses that the processor makes on its own behalf, with supervisor rights (descriptor tables,
  // TSS, delivery).
  template <typename T>
  T LoadSystem(uint64_t linear) {
    Tlb* saved = std::exchange(tlb_, &tlbs_[static_cast<size_t>(View::kSupervisor)]);
    View view = std::exchange(view_, View::kSupervisor);
    Restore restore{this, saved, view};
    return Load<T>(linear);
  }
  template <typename T>
  void StoreSystem(uint64_t linear, T value) {
    Tlb* saved = std::exchange(tlb_, &tlbs_[static_cast<size_t>(View::kSupervisor)]);
    View view = std::exchange(view_, View::kSupervisor);
    Restore restore{this, saved, view};
    Store<T>(linear, value);
  }

  // --- Memory by instruction operand ---
  // Linear address of op's memory operand of size bytes, segment checks for reading included.
  uint64_t Address(const Op* op, unsigned size) { return Address(op, Access::kRead, size); }
  // Likewise for writing.
  uint64_t AddressForWrite(const Op* op, unsigned size) {
    return Address(op, Access::kWrite, size);
  }
  // base + index * scale + displacement, before segment and address size.
  uint64_t Offset(const Op* op) const {
    return Get<uint64_t>(op->base) + (Get<uint64_t>(op->index) << op->scale) + op->disp;
  }
  // An offset in a segment as a linear address; legacy modes check limit and type.
  uint64_t SegmentAddress(x86::SegmentName name, uint64_t offset, Access access, unsigned size);
  uint64_t Linear(uint8_t name, uint64_t offset, unsigned size, bool write) {
    return SegmentAddress(static_cast<x86::SegmentName>(name), offset,
                          write ? Access::kWrite : Access::kRead, size);
  }
  template <typename T>
  T LoadOperand(const Op* op) {
    return Load<T>(Address(op, sizeof(T)));
  }
  template <typename T>
  void StoreOperand(const Op* op, T value) {
    Store<T>(AddressForWrite(op, sizeof(T)), value);
  }

  // --- Stack ---
  template <typename T>
  void Push(T value) {
    uint64_t sp = StackPointer() - sizeof(T);
    Store<T>(StackAddress(sp, Access::kWrite, sizeof(T)), value);
    SetStackPointer(sp);
  }
  template <typename T>
  T Pop() {
    uint64_t sp = StackPointer();
    T value = Load<T>(StackAddress(sp, Access::kRead, sizeof(T)));
    SetStackPointer(sp + sizeof(T));
    return value;
  }
  uint64_t StackPointer() const { return r[x86::kRsp]; }
  void SetStackPointer(uint64_t sp) {
    switch (StackWidth()) {
      case 8:
        r[x86::kRsp] = sp;
        break;
      case 4:
        r[x86::kRsp] = static_cast<uint32_t>(sp);
        break;
      default:
        Set<uint16_t>(SlotOffset(x86::kRsp), static_cast<uint16_t>(sp));
    }
  }
  uint64_t StackAddress(uint64_t sp, Access access, unsigned size) {
    if (Code64()) [[likely]]
      return sp;
    return SegmentAddress(x86::kSs, StackWidth() == 4 ? sp & 0xffffffff : sp & 0xffff, access,
                          size);
  }

  // --- Translation ---
  // Where code is fetched from at a linear address; throws the page fault.
  struct FetchPage {
    uint64_t gpa;  // of the page
    RamPage ram;
    bool global = false;
  };
  FetchPage Fetch(uint64_t linear);
  void FlushTlb(bool keep_global);
  void FlushPage(uint64_t linear);

  // The live registers, for a hypercall at at_rip.
  HypercallFrame Frame(uint64_t at_rip);
  uint64_t LinearOfCode(uint64_t at_rip) const {
    return Code64() ? at_rip : static_cast<uint32_t>(segment[x86::kCs].base + at_rip);
  }

 private:
  uint64_t Address(const Op* op, Access access, unsigned size) {
    if (op->checked_segment) [[unlikely]]
      return CheckedAddress(op, access, size);
    return Offset(op) + Get<uint64_t>(op->segment_base);
  }
  // A guest's locked access across two cache lines is none of the host's, which would hold up all
  // of its processors, and where it detects that (SDM volume 3, "Bus Locks") slows the process down
  // or kills it.
  template <typename T>
  static bool SplitsLine(uint64_t linear) {
    constexpr uint64_t kLineMask = 63;
    return (linear & kLineMask) + sizeof(T) > kLineMask + 1;
  }
  // A page that was not in the TLB; else across lines, in a rewritten page, or a device: alone.
  template <typename T, typename F>
  [[gnu::noinline]] T AtomicRmwSlowly(uint64_t linear, F change) {
    ProbeWrite(linear, sizeof(T));
    const TlbEntry& entry = tlb_->Slot(linear);
    if (entry.write_tag == ((linear + sizeof(T) - 1) & ~x86::kPageMask) && !SplitsLine<T>(linear)) {
      return AtomicRmw<T>(linear, change);
    }
    T old;
    exclusive.Run([&] { old = ModifySlowly<T>(linear, change); });
    return old;
  }
  // Out of line, so that the handlers stay small and their last calls jumps.
  template <typename T>
  [[gnu::noinline]] T LoadSlowly(uint64_t linear) {
    T value;
    ReadLinear(linear, &value, sizeof value);
    return value;
  }
  template <typename T>
  [[gnu::noinline]] void StoreSlowly(uint64_t linear, T value) {
    WriteLinear(linear, &value, sizeof value);
  }
  template <typename T, typename F>
  [[gnu::noinline]] T ModifySlowly(uint64_t linear, F change) {
    ProbeWrite(linear, sizeof(T));
    T old;
    ReadLinear(linear, &old, sizeof old);
    T value = change(old);
    WriteLinear(linear, &value, sizeof value);
    return old;
  }

  struct Restore {
    Cpu* cpu;
    Tlb* tlb;
    View view;
    ~Restore() {
      cpu->tlb_ = tlb;
      cpu->view_ = view;
    }
  };

  void NoteStore(PageState* page, uint64_t linear, size_t size) {
    // The store above must come before this load; see physical_pages.h.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (page->chunks.load(std::memory_order_relaxed) != 0) [[unlikely]] {
      if (page->InvalidateIfCode(linear & x86::kPageMask, size)) leave_block = true;
    }
  }
  // The entry for a page, walked and filled in if need be.
  const TlbEntry& Translate(uint64_t linear, Access access);
  void ReadPage(uint64_t linear, std::byte* bytes, size_t size);
  void WritePage(uint64_t linear, const std::byte* bytes, size_t size);
  static void WriteHost(uint64_t host_address, const std::byte* bytes, size_t size);
  uint64_t CheckedAddress(const Op* op, Access access, unsigned size);

  Tlb* tlb_;
  View view_ = View::kSupervisor;
  Tlb tlbs_[kViewCount];

  struct FetchEntry {
    uint64_t tag = kTagInvalid;
    FetchPage page{};
  };
  static constexpr size_t kFetchEntries = 256;
  FetchEntry fetch_[2][kFetchEntries];  // supervisor, user
  // Bit per hashed page number: whether code was fetched there since the last flush of everything.
  // Dropping the translation of any other page touches no link between blocks.
  std::bitset<1 << 16> fetched_;
  static size_t FetchedBit(uint64_t linear) {
    uint64_t page = linear >> x86::kPageShift;
    return (page ^ page >> 16) & 0xffff;
  }

  struct JumpEntry {
    uint64_t linear = 0;
    uint64_t epoch = 0;
    Block* block = nullptr;
  };
  static constexpr size_t kJumpEntries = 4096;
  JumpEntry jumps_[kJumpEntries];
  friend class Dispatcher;

  uint64_t code_base_ = 0;  // that linear code addresses are offset by

  // Linear pages that were mapped by large pages since the last flush: INVLPG within drops
  // everything.
  uint64_t large_low_ = ~uint64_t{0}, large_high_ = 0;
};

}  // namespace trapline::engine::soft

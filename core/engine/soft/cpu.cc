// SPDX-License-Identifier: Apache-2.0
// The CPU's mode bookkeeping and its ways out of a block.
#include "core/engine/soft/cpu.h"

namespace trapline::engine::soft {

Cpu::Cpu(uint32_t apic_id, const CpuConfig& config, VcpuHost& host, PhysicalPages& pages,
         Exclusive& exclusive)
    : apic_id(apic_id),
      config(config),
      host(host),
      pages(pages),
      exclusive(exclusive),
      tlb_(&tlbs_[static_cast<size_t>(View::kSupervisor)]) {}

void Cpu::SetRflags(uint64_t value) {
  using namespace x86::rflags;
  constexpr uint64_t kWritable =
      kArithmetic | kTf | kIf | kDf | kIopl | kNt | kRf | kVm | kAc | kVif | kVip | kId;
  value = (value & kWritable) | kReserved1;
  lazy.SetKnown(value);
  rflags_rest = value & ~kArithmetic;
  if (value & kIf) RecheckInterrupts();
}

void Cpu::UpdateMode() {
  namespace attr = x86::segment_attribute;
  const x86::Segment& cs = segment[x86::kCs];
  if (LongMode() && (cs.attributes & attr::kLong)) {
    code_bits = 64;
  } else {
    code_bits = (cs.attributes & attr::kDefault32) && !Virtual8086() ? 32 : 16;
  }
  view_ = cpl == 3                         ? View::kUser
          : rflags_rest & x86::rflags::kAc ? View::kSupervisorAc
                                           : View::kSupervisor;
  tlb_ = &tlbs_[static_cast<size_t>(view_)];
  uint64_t code_base = code_bits == 64 ? 0 : cs.base;
  if (code_base != code_base_) {
    // Blocks may stand under other RIPs from now on than those that link to them expect.
    code_base_ = code_base;
    ++tlb_epoch;
    ++global_epoch;
  }
  r[kSlotFsBase] = segment[x86::kFs].base;
  r[kSlotGsBase] = segment[x86::kGs].base;
}

void Cpu::Uncount(const Op* op) {
  // The block was counted whole when it was entered.
  uint64_t rest = 0;
  for (const Op* at = op; at->length != 0; ++at) rest += InstructionsOf(*at);
  retired.store(retired.load(std::memory_order_relaxed) - rest, std::memory_order_relaxed);
}

const Op* Cpu::Leave(const Op* op) {
  rip = NextRipOf(op) & RipMask();
  Uncount(op + 1);
  return Dispatch();
}

const Op* Cpu::Repeat(const Op* op) {
  rip = RipOf(op) & RipMask();
  Uncount(op);
  return Dispatch();
}

const Op* Cpu::BranchIndirect(uint64_t target) {
  target &= RipMask();
  uint64_t linear = LinearOfCode(target);
  const JumpEntry& entry = jumps_[(linear ^ (linear >> 12)) & (kJumpEntries - 1)];
  if (entry.linear == linear && entry.block && entry.epoch == EpochOf(*entry.block) &&
      attention.load(std::memory_order_relaxed) == 0 && entry.block->mode_key == block->mode_key &&
      entry.block->Valid()) [[likely]] {
    return Enter(entry.block);
  }
  rip = target;
  unresolved_link = nullptr;
  return nullptr;
}

HypercallFrame Cpu::Frame(uint64_t at_rip) {
  return {std::span<uint64_t, x86::kGprCount>(r, x86::kGprCount), at_rip, LinearOfCode(at_rip), cpl,
          Code64()};
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// The dispatcher: attention, block lookup, execution, faults.
//
// Order at each instruction boundary that the dispatcher sees (SDM volume 3, section 6.9):
// single-step trap of the instruction before, NMI, maskable interrupt, then the next instruction.
// Chained blocks pass such a boundary unseen while Cpu::attention is zero.
#include "core/engine/soft/dispatcher.h"

#include <algorithm>

#include "core/engine/soft/debug.h"
#include "core/engine/soft/delivery.h"
#include "core/engine/soft/interp/hypercall_entry.h"

namespace trapline::engine::soft {
namespace {

constexpr size_t kMaxBlockOps = 64;

// The end of a block that no branch ended: on with the one behind it.
const Op* GoOn(Cpu& cpu, const Op* op) { return cpu.NotTaken(op); }

// Contributory exceptions and page faults escalate to a double fault (SDM volume 3, table 6-5).
bool Contributory(x86::Vector v) {
  return v == x86::Vector::kDivideError ||
         (v >= x86::Vector::kInvalidTss && v <= x86::Vector::kGeneralProtection);
}
bool Doubles(x86::Vector first, x86::Vector second) {
  if (first == x86::Vector::kPageFault)
    return Contributory(second) || second == x86::Vector::kPageFault;
  return Contributory(first) && Contributory(second);
}

}  // namespace

Exit Dispatcher::Run() {
  exit_ = Exit{};
  try {
    for (;;) {
      std::optional<Fault> fault;
      try {
        RunBlocks();
        return exit_;
      } catch (const Fault& thrown) {
        fault = thrown;
      }
      if (!HandleFault(*fault, cpu_.current)) return exit_;
    }
  } catch (const EngineFailure& failure) {
    exit_.reason = ExitReason::kFailure;
    exit_.failure = failure.message;
    return exit_;
  }
}

void Dispatcher::Inject(const Fault& fault) { injected_ = fault; }

void Dispatcher::RunBlocks() {
  cpu_.block = nullptr;
  cpu_.current = nullptr;
  cpu_.unresolved_link = nullptr;
  if (injected_) throw *std::exchange(injected_, std::nullopt);
  for (;;) {
    if (cpu_.attention.load(std::memory_order_relaxed) != 0 && !Attend()) return;
    bool stepping = (cpu_.rflags_rest & x86::rflags::kTf) != 0;
    bool shadow = std::exchange(cpu_.interrupt_shadow, false);
    bool alone = Alone(shadow);
    if (alone) CheckCodeBreakpoint((cpu_.rflags_rest & x86::rflags::kRf) != 0);
    // RF holds for one instruction; IRET may set it anew.
    cpu_.rflags_rest &= ~x86::rflags::kRf;
    BlockLink* link = std::exchange(cpu_.unresolved_link, nullptr);
    Block* source = std::exchange(cpu_.block, nullptr);
    uint64_t cleared = cleared_;
    Block* block = FindBlock(alone);
    // If the cache was emptied the link's own block is gone.
    if (link && source && cleared == cleared_ && source->mode_key == block->mode_key) {
      *link = {block, cpu_.EpochOf(*block)};
    }
    cpu_.leave_block = false;
    const Op* next = cpu_.Enter(block);
    do {
      cpu_.current = next;
      next = next->run(cpu_, next);
    } while (next);
    cpu_.current = nullptr;
    if (cpu_.interrupt_shadow || shadow) cpu_.RecheckInterrupts();
    if (cpu_.step_at_end) [[unlikely]] {
      // SYSCALL and SYSRET; and interrupts, which clear TF.
      cpu_.step_at_end = false;
      stepping = (cpu_.rflags_rest & x86::rflags::kTf) != 0;
      if (stepping) alone = true;
    }
    if (alone) RaiseDebugTraps(stepping);
    if (cpu_.halted) {
      cpu_.halted = false;
      exit_.reason = ExitReason::kHalt;
      return;
    }
  }
}

bool Dispatcher::Alone(bool shadow) {
  bool alone = shadow || (cpu_.rflags_rest & x86::rflags::kTf) || BreakpointsEnabled(cpu_);
  bool was = (cpu_.attention.load(std::memory_order_relaxed) & kAttentionSingle) != 0;
  if (alone != was) cpu_.attention.fetch_xor(kAttentionSingle);
  return alone;
}

bool Dispatcher::Attend() {
  uint32_t seen = cpu_.attention.load();
  if (seen & kAttentionExclusive) {
    cpu_.attention.fetch_and(~kAttentionExclusive);
    cpu_.exclusive.SafePoint();
  }
  if (seen & kAttentionKick) {
    cpu_.attention.fetch_and(~kAttentionKick);
    exit_.reason = ExitReason::kKick;
    return false;
  }
  if (seen & kAttentionInterrupt && !cpu_.interrupt_shadow) {
    cpu_.attention.fetch_and(~kAttentionInterrupt);
    DeliverPending();
  }
  return true;
}

void Dispatcher::DeliverPending() {
  // What comes next is perhaps the handler, not where the last branch led.
  cpu_.unresolved_link = nullptr;
  if (cpu_.nmi_blocked) {
    // One is latched, however many come (SDM volume 3, section 6.7.1).
    while (cpu_.host.TakeNmi()) cpu_.nmi_latched = true;
  } else if (cpu_.nmi_latched || cpu_.host.TakeNmi()) {
    cpu_.nmi_latched = false;
    DeliverInterruption(cpu_, {static_cast<uint8_t>(x86::Vector::kNmi), Source::kExternal});
    cpu_.nmi_blocked = true;
    cpu_.RecheckInterrupts();
    return;
  }
  if (!(cpu_.rflags_rest & x86::rflags::kIf) || !cpu_.host.InterruptPending()) return;
  if (auto vector = cpu_.host.AcknowledgeInterrupt()) {
    DeliverInterruption(cpu_, {*vector, Source::kExternal});
  }
}

Block* Dispatcher::FindBlock(bool single) {
  BlockMode mode = cpu_.CurrentBlockMode(single);
  if (cpu_.code_bits != 64) {
    const x86::Segment& cs = cpu_.segment[x86::kCs];
    if (cpu_.rip > cs.limit) RaiseGp();
  }
  uint64_t linear = cpu_.LinearOfCode(cpu_.rip);
  uint32_t key = mode.Key();
  Cpu::JumpEntry& jump = cpu_.jumps_[(linear ^ (linear >> 12)) & (Cpu::kJumpEntries - 1)];
  if (jump.linear == linear && jump.block && jump.epoch == cpu_.EpochOf(*jump.block) &&
      jump.block->mode_key == key && jump.block->rip == cpu_.rip && jump.block->Valid()) {
    return jump.block;
  }
  Cpu::FetchPage page = cpu_.Fetch(linear);
  if (!page.ram.host) throw EngineFailure{"the guest executes code outside RAM"};
  uint64_t gpa = page.gpa + (linear & x86::kPageMask);
  Block* block = cache_.Find(linear, gpa, key);
  if (!block && cache_.Full()) {
    cache_.Clear();
    for (Cpu::JumpEntry& entry : cpu_.jumps_) entry = {};
    ++cleared_;
  }
  if (!block) block = cache_.Add(linear, gpa, key);
  block->global = page.global;
  // A block may have been entered with another CS base, or decoded from bytes since changed, or
  // cross into a page that is mapped differently now.
  if (block->ops.empty() || block->rip != cpu_.rip || !block->Valid() || block->second_page) {
    Decode(block, mode);
  }
  jump = {linear, cpu_.EpochOf(*block), block};
  return block;
}

// The bytes at `at` of a page, as many as there are of kMaxInstructionLength; a page that code was
// decoded from is marked.
std::span<const uint8_t> Dispatcher::FetchBytes(const Cpu::FetchPage& page, uint64_t at,
                                                std::span<uint8_t> bytes) {
  size_t here = std::min<size_t>(x86::kPageSize - at, bytes.size());
  cpu_.pages.MarkCode(*page.ram.state, at, here);
  for (size_t i = 0; i < here; ++i) {
    bytes[i] = RawLoad<uint8_t>(reinterpret_cast<uint64_t>(page.ram.host) + at + i);
  }
  if (page.ram.state->shadowed.load(std::memory_order_relaxed)) {
    cpu_.host.OverlayOriginal(page.gpa + at, std::as_writable_bytes(bytes.first(here)), true);
  }
  return bytes.first(here);
}

// An instruction that reaches into the next page; the only one of its block.
void Dispatcher::DecodeAcross(Block* block, const DecodeContext& context, std::span<uint8_t> bytes,
                              size_t here) {
  Cpu::FetchPage next = cpu_.Fetch((block->linear | x86::kPageMask) + 1);
  if (!next.ram.host) throw EngineFailure{"the guest executes code outside RAM"};
  block->second_page = next.ram.state;
  block->global = block->global && next.global;
  block->second_generation = next.ram.state->generation.load(std::memory_order_acquire);
  FetchBytes(next, 0, bytes.subspan(here));
  Op op;
  soft::Decode(context, block->rip, bytes, &op);
  block->ops.push_back(op);
}

void Dispatcher::Decode(Block* block, const BlockMode& mode) {
  block->ops.clear();
  block->rip = cpu_.rip;
  block->links[0] = block->links[1] = {};
  block->second_page = nullptr;
  Cpu::FetchPage page = cpu_.Fetch(block->linear);
  block->page = page.ram.state;
  block->generation = page.ram.state->generation.load(std::memory_order_acquire);
  block->global = page.global;

  const DecodeContext context{static_cast<uint8_t>(mode.code_bits / 8)};
  const uint64_t start = block->linear & x86::kPageMask;
  size_t size = 0;
  bool open = true;
  while (open && block->ops.size() < kMaxBlockOps && start + size < x86::kPageSize) {
    uint8_t buffer[kMaxInstructionLength] = {};
    std::span<const uint8_t> bytes = FetchBytes(page, start + size, buffer);
    Op op;
    DecodeResult result = soft::Decode(context, (block->rip + size) & cpu_.RipMask(), bytes, &op);
    if (result.status == DecodeStatus::kTooShort) {
      if (block->ops.empty()) {
        DecodeAcross(block, context, buffer, bytes.size());
        BindHypercallSite(cpu_, page.gpa + start, block->ops.back());
        size = block->ops.back().length;
      }
      break;
    }
    op.offset = static_cast<uint16_t>(size);
    BindHypercallSite(cpu_, page.gpa + start + size, op);
    size += op.length;
    open = !result.ends_block && !mode.single;
    if (!mode.single && !block->ops.empty() && Fuse(context, &block->ops.back(), op)) break;
    block->ops.push_back(op);
  }
  Op end;
  end.run = GoOn;
  end.offset = static_cast<uint16_t>(size);
  end.length = 0;
  block->ops.push_back(end);
  block->count = 0;
  for (const Op& op : block->ops) block->count += InstructionsOf(op);
}

bool Dispatcher::HandleFault(const Fault& fault, const Op* op) {
  if (op && !fault.trap) {
    cpu_.Uncount(op);
    cpu_.rip = cpu_.RipOf(op) & cpu_.RipMask();
  }
  cpu_.unresolved_link = nullptr;
  cpu_.debug_hits = 0;
  cpu_.step_at_end = false;
  Fault actual = fault;
  if (fault.noncanonical && op && op->segment == x86::kSs) actual.vector = x86::Vector::kStackFault;
  if (fault.vector == x86::Vector::kInvalidOpcode && op) {
    FillTrap(fault.raised);
    return false;
  }
  if (cpu_.host.WantsExceptions()) {
    if (actual.vector == x86::Vector::kPageFault) cpu_.cr2 = actual.address;
    exit_.reason = ExitReason::kException;
    FillException(actual);
    return false;
  }
  return Deliver(actual);
}

void Dispatcher::FillException(const Fault& fault) {
  exit_.exception = {fault.vector, x86::HasErrorCode(fault.vector) ? fault.error_code : 0,
                     fault.vector == x86::Vector::kPageFault ? fault.address : 0};
}

bool Dispatcher::Deliver(const Fault& first) {
  Fault fault = first;
  for (;;) {
    try {
      if (fault.vector == x86::Vector::kPageFault) cpu_.cr2 = fault.address;
      if (fault.vector != x86::Vector::kDebug) cpu_.rflags_rest |= x86::rflags::kRf;
      DeliverInterruption(cpu_, {static_cast<uint8_t>(fault.vector), Source::kException,
                                 x86::HasErrorCode(fault.vector), fault.error_code});
      return true;
    } catch (const Fault& second) {
      if (second.vector == x86::Vector::kPageFault) cpu_.cr2 = second.address;
      if (fault.vector == x86::Vector::kDoubleFault) {
        // The third fault in a row: the processor shuts down.
        exit_.reason = ExitReason::kShutdown;
        FillException(first);
        return false;
      }
      fault = Doubles(fault.vector, second.vector)
                  ? Fault{x86::Vector::kDoubleFault, 0, 0, false, 0}
                  : second;
    }
  }
}

void Dispatcher::CheckCodeBreakpoint(bool resume) {
  if (resume || cpu_.debug_shadow || !BreakpointsEnabled(cpu_)) return;
  uint64_t hits = CodeBreakpoints(cpu_, cpu_.LinearOfCode(cpu_.rip));
  if (hits == 0) return;
  cpu_.dr[6] = (cpu_.dr[6] & ~debug::kDr6Hits) | hits;
  Raise(x86::Vector::kDebug);
}

// Behind an instruction that ran alone.
void Dispatcher::RaiseDebugTraps(bool stepping) {
  if (cpu_.debug_shadow && cpu_.interrupt_shadow)
    return;  // the instruction was what casts the shadow
  cpu_.debug_shadow = false;
  uint64_t hits = std::exchange(cpu_.debug_hits, 0) | (stepping ? debug::kDr6SingleStep : 0);
  if (hits == 0) return;
  cpu_.halted = false;
  cpu_.dr[6] = (cpu_.dr[6] & ~debug::kDr6Hits) | hits;
  Raise(x86::Vector::kDebug);
}

void Dispatcher::FillTrap(uint64_t raised) {
  exit_.reason = ExitReason::kTrap;
  Exit::Trap& trap = exit_.trap;
  trap = {};
  trap.raised = raised;
  trap.gva = cpu_.LinearOfCode(cpu_.rip);
  trap.cpl = cpu_.cpl;
  trap.long_mode = cpu_.Code64();
  for (unsigned i = 0; i < 3; ++i) {
    try {
      Cpu::FetchPage page = cpu_.Fetch(trap.gva + i);
      if (!page.ram.host) return;
      uint64_t offset = (trap.gva + i) & x86::kPageMask;
      trap.bytes[i] = RawLoad<std::byte>(reinterpret_cast<uint64_t>(page.ram.host) + offset);
      trap.gpa[i] = page.gpa + offset;
      trap.length = i + 1;
    } catch (const Fault&) {
      return;
    }
  }
}

}  // namespace trapline::engine::soft

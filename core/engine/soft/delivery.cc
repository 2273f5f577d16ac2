// SPDX-License-Identifier: Apache-2.0
// Interrupt delivery and IRET. One path for each of real mode, legacy protected mode and long mode;
// everything is checked and the new stack written before a register changes, so that a fault on the
// way leaves the CPU as it was.
#include "core/engine/soft/delivery.h"

#include "core/engine/soft/segments.h"

namespace trapline::engine::soft {
namespace {

using namespace x86::rflags;

struct Gate {
  uint64_t offset;
  uint16_t selector;
  unsigned type, dpl, ist;
  bool present;
};

uint32_t VectorError(const Interruption& it) {
  return it.vector * 8u + 2u + (it.source != Source::kSoftware);
}

void DeliverReal(Cpu& cpu, const Interruption& it) {
  if (it.vector * 4u + 3 > cpu.idtr.limit) RaiseGp();
  uint32_t target = cpu.LoadSystem<uint32_t>(cpu.idtr.base + it.vector * 4u);
  uint64_t sp = cpu.StackPointer();
  cpu.ProbeWrite(cpu.StackAddress(sp - 6, Access::kWrite, 2), 2);
  cpu.Push<uint16_t>(static_cast<uint16_t>(cpu.Rflags()));
  cpu.Push<uint16_t>(cpu.segment[x86::kCs].selector);
  cpu.Push<uint16_t>(static_cast<uint16_t>(cpu.rip));
  cpu.rflags_rest &= ~(kIf | kTf | kAc | kRf);
  LoadRealCs(cpu, static_cast<uint16_t>(target >> 16));
  cpu.rip = target & 0xffff;
  cpu.UpdateMode();
}

Gate ReadGate(Cpu& cpu, const Interruption& it) {
  unsigned size = cpu.LongMode() ? 16 : 8;
  if (it.vector * size + size - 1 > cpu.idtr.limit) RaiseGp(VectorError(it));
  uint64_t at = cpu.idtr.base + it.vector * size;
  uint64_t low = cpu.LoadSystem<uint64_t>(at);
  Gate gate{.offset = (low & 0xffff) | ((low >> 32) & 0xffff0000),
            .selector = static_cast<uint16_t>(low >> 16),
            .type = static_cast<unsigned>((low >> 40) & 0x1f),
            .dpl = static_cast<unsigned>((low >> 45) & 3),
            .ist = cpu.LongMode() ? static_cast<unsigned>((low >> 32) & 7) : 0,
            .present = ((low >> 47) & 1) != 0};
  if (cpu.LongMode()) gate.offset |= cpu.LoadSystem<uint64_t>(at + 8) << 32;
  bool known = gate.type == kTypeInterruptGate || gate.type == kTypeTrapGate;
  if (!cpu.LongMode()) {
    known = known || gate.type == kTypeInterruptGate16 || gate.type == kTypeTrapGate16;
    if (gate.type == kTypeTaskGate)
      throw EngineFailure{"the guest uses a task gate, which this engine does not offer"};
  }
  if (!known) RaiseGp(VectorError(it));
  if (it.source == Source::kSoftware && gate.dpl < cpu.cpl) RaiseGp(VectorError(it));
  if (!gate.present) Raise(x86::Vector::kSegmentNotPresent, VectorError(it));
  return gate;
}

// In legacy modes; 16-bit gates have half of it.
uint64_t GateOffset(const Gate& gate) {
  return gate.offset & (gate.type & 8 ? 0xffffffff : 0xffff);
}

// Writes a frame downwards on a stack that is not the current one yet.
class NewStack {
 public:
  NewStack(Cpu& cpu, const x86::Segment& ss, uint64_t sp, unsigned cpl)
      : cpu_(cpu), ss_(ss), sp_(sp), user_(cpl == 3) {}

  void Push(uint64_t value, unsigned size) {
    sp_ -= size;
    uint64_t linear = Linear(size);
    // The frame is written with the rights of the level that it is for.
    switch (size) {
      case 2:
        Write<uint16_t>(linear, static_cast<uint16_t>(value));
        break;
      case 4:
        Write<uint32_t>(linear, static_cast<uint32_t>(value));
        break;
      default:
        Write<uint64_t>(linear, value);
    }
  }
  uint64_t sp() const { return sp_; }

 private:
  bool Big() const { return ss_.attributes & x86::segment_attribute::kDefault32; }
  uint64_t Linear(unsigned size) const {
    if (cpu_.LongMode()) return sp_;
    uint64_t offset = sp_ & (Big() ? 0xffffffff : 0xffff);
    bool down = ss_.attributes & x86::segment_attribute::kExpandDownOrConforming;
    bool outside = down ? offset <= ss_.limit : offset + size - 1 > ss_.limit;
    if (outside) Raise(x86::Vector::kStackFault, 0);
    return static_cast<uint32_t>(ss_.base + offset);
  }
  template <typename T>
  void Write(uint64_t linear, T value) {
    if (user_) {
      cpu_.Store<T>(linear, value);
    } else {
      cpu_.StoreSystem<T>(linear, value);
    }
  }
  Cpu& cpu_;
  x86::Segment ss_;
  uint64_t sp_;
  bool user_;
};

void DeliverProtected(Cpu& cpu, const Interruption& it) {
  Gate gate = ReadGate(cpu, it);
  bool external = it.source != Source::kSoftware;
  uint32_t error = (gate.selector & kSelectorErrorMask) | (external ? 1 : 0);
  if (NullSelector(gate.selector)) RaiseGp(external ? 1 : 0);
  Descriptor code = ReadDescriptor(cpu, gate.selector);
  if (!code.code() || code.dpl() > cpu.cpl) RaiseGp(error);
  if (!code.present()) Raise(x86::Vector::kSegmentNotPresent, error);
  if (cpu.LongMode() && (!code.long_code() || code.default32())) RaiseGp(error);

  if (cpu.LongMode() ? !x86::Canonical(gate.offset) : GateOffset(gate) > code.limit())
    RaiseGp(external ? 1 : 0);

  unsigned new_cpl = code.conforming() ? cpu.cpl : code.dpl();
  bool inner = new_cpl < cpu.cpl;
  bool from_v86 = cpu.Virtual8086();
  if (from_v86 && new_cpl != 0) RaiseGp(error);

  x86::Segment ss = cpu.segment[x86::kSs];
  uint64_t sp = cpu.StackPointer();
  if (cpu.LongMode()) {
    if (gate.ist != 0) {
      sp = ReadTssIst(cpu, gate.ist);
    } else if (inner) {
      sp = ReadTssStack(cpu, new_cpl).sp;
    }
    if (!x86::Canonical(sp)) Raise(x86::Vector::kStackFault, 0);
    sp &= ~uint64_t{15};
    if (inner) {
      ss = {static_cast<uint16_t>(new_cpl),
            static_cast<uint16_t>(new_cpl << x86::segment_attribute::kDplShift), 0, 0};
    }
  } else if (inner) {
    TssStack stack = ReadTssStack(cpu, new_cpl);
    sp = stack.sp;
    if (NullSelector(stack.ss)) Raise(x86::Vector::kInvalidTss, external ? 1 : 0);
    ss = CheckStackSegment(cpu, stack.ss, new_cpl, x86::Vector::kInvalidTss);
  }

  unsigned width = cpu.LongMode() ? 8 : gate.type & 8 ? 4 : 2;
  NewStack frame(cpu, ss, sp, new_cpl);
  uint64_t flags = cpu.Rflags();
  if (from_v86) {
    for (x86::SegmentName name : {x86::kGs, x86::kFs, x86::kDs, x86::kEs}) {
      frame.Push(cpu.segment[name].selector, width);
    }
  }
  if (cpu.LongMode() || inner) {
    frame.Push(cpu.segment[x86::kSs].selector, width);
    frame.Push(cpu.r[x86::kRsp], width);
  }
  frame.Push(flags, width);
  frame.Push(cpu.segment[x86::kCs].selector, width);
  frame.Push(cpu.rip, width);
  if (it.has_error_code) frame.Push(it.error_code, width);

  MarkAccessed(cpu, code);
  cpu.rflags_rest &= ~(kTf | kNt | kRf | kVm);
  bool interrupt_gate = !(gate.type & 1);
  if (interrupt_gate) cpu.rflags_rest &= ~kIf;
  if (from_v86) {
    for (x86::SegmentName name : {x86::kGs, x86::kFs, x86::kDs, x86::kEs}) cpu.segment[name] = {};
  }
  cpu.segment[x86::kSs] = ss;
  cpu.segment[x86::kCs] =
      SegmentOf(static_cast<uint16_t>((gate.selector & kSelectorErrorMask) | new_cpl), code);
  cpu.cpl = static_cast<uint8_t>(new_cpl);
  cpu.rip = cpu.LongMode() ? gate.offset : GateOffset(gate);
  cpu.UpdateMode();
  cpu.SetStackPointer(frame.sp());
}

// ---- IRET ----

constexpr uint64_t kReturnable = kArithmetic | kTf | kDf | kNt | kRf | kAc | kId | kVif | kVip;

void SetReturnedFlags(Cpu& cpu, uint64_t value, unsigned size, unsigned old_cpl) {
  uint64_t changeable = kReturnable;
  if (size == 2) changeable &= 0xffff;
  if (old_cpl <= cpu.Iopl()) changeable |= kIf;
  if (old_cpl == 0) changeable |= kIopl;
  if (old_cpl != 0) changeable &= ~(kVif | kVip);
  cpu.SetRflags((cpu.Rflags() & ~changeable) | (value & changeable));
}

uint64_t LoadSlot(Cpu& cpu, uint64_t sp, unsigned index, unsigned size) {
  uint64_t linear = cpu.StackAddress(sp + index * size, Access::kRead, size);
  switch (size) {
    case 2:
      return cpu.Load<uint16_t>(linear);
    case 4:
      return cpu.Load<uint32_t>(linear);
    default:
      return cpu.Load<uint64_t>(linear);
  }
}

void ReturnReal(Cpu& cpu, unsigned size) {
  if (cpu.Virtual8086() && cpu.Iopl() < 3) RaiseGp();
  uint64_t sp = cpu.StackPointer();
  uint64_t ip = LoadSlot(cpu, sp, 0, size), cs = LoadSlot(cpu, sp, 1, size);
  uint64_t flags = LoadSlot(cpu, sp, 2, size);
  if (ip > 0xffff) RaiseGp();
  cpu.SetStackPointer(sp + 3 * size);
  uint64_t changeable = kReturnable | kIf | (cpu.Virtual8086() ? 0 : kIopl);
  if (size == 2) changeable &= 0xffff;
  changeable &= ~(kVif | kVip);
  cpu.SetRflags((cpu.Rflags() & ~changeable) | (flags & changeable));
  LoadRealCs(cpu, static_cast<uint16_t>(cs));
  cpu.rip = ip;
  cpu.UpdateMode();
}

void ReturnToVirtual8086(Cpu& cpu, uint64_t sp, uint64_t ip, uint64_t cs, uint64_t flags) {
  uint64_t slots[6];
  for (unsigned i = 0; i < 6; ++i) slots[i] = LoadSlot(cpu, sp, 3 + i, 4);
  cpu.SetRflags(flags);
  cpu.cpl = 3;
  LoadRealCs(cpu, static_cast<uint16_t>(cs));
  cpu.rip = ip & 0xffff;
  cpu.UpdateMode();
  constexpr x86::SegmentName kOrder[] = {x86::kEs, x86::kDs, x86::kFs, x86::kGs};
  LoadSegment(cpu, x86::kSs, static_cast<uint16_t>(slots[1]));
  for (unsigned i = 0; i < 4; ++i) LoadSegment(cpu, kOrder[i], static_cast<uint16_t>(slots[2 + i]));
  cpu.r[x86::kRsp] = static_cast<uint32_t>(slots[0]);
  cpu.UpdateMode();
}

void ReturnProtected(Cpu& cpu, unsigned size) {
  if (!cpu.LongMode() && (cpu.rflags_rest & kNt)) {
    throw EngineFailure{"the guest returns to a nested task, which this engine does not offer"};
  }
  if (cpu.LongMode() && (cpu.rflags_rest & kNt)) RaiseGp();
  uint64_t sp = cpu.StackPointer();
  uint64_t ip = LoadSlot(cpu, sp, 0, size);
  auto cs = static_cast<uint16_t>(LoadSlot(cpu, sp, 1, size));
  uint64_t flags = LoadSlot(cpu, sp, 2, size);
  unsigned old_cpl = cpu.cpl;
  if (!cpu.LongMode() && size == 4 && (flags & kVm) && old_cpl == 0) {
    ReturnToVirtual8086(cpu, sp, ip, cs, flags);
    return;
  }
  uint32_t error = cs & kSelectorErrorMask;
  if (NullSelector(cs)) RaiseGp();
  Descriptor code = ReadDescriptor(cpu, cs);
  unsigned rpl = cs & 3;
  if (!code.code() || rpl < old_cpl) RaiseGp(error);
  if (code.conforming() ? code.dpl() > rpl : code.dpl() != rpl) RaiseGp(error);
  if (!code.present()) Raise(x86::Vector::kSegmentNotPresent, error);
  bool to_64 = cpu.LongMode() && code.long_code();
  if (to_64 && code.default32()) RaiseGp(error);
  if (to_64 && !x86::Canonical(ip)) RaiseGp();
  if (!to_64 && ip > code.limit()) RaiseGp();

  bool pops_stack = rpl > old_cpl || cpu.Code64();
  if (pops_stack) {
    uint64_t new_sp = LoadSlot(cpu, sp, 3, size);
    auto new_ss = static_cast<uint16_t>(LoadSlot(cpu, sp, 4, size));
    x86::Segment ss;
    if (NullSelector(new_ss) && !(to_64 && rpl != 3)) RaiseGp();
    ss = CheckStackSegment(cpu, new_ss, rpl, x86::Vector::kGeneralProtection);
    MarkAccessed(cpu, code);
    SetReturnedFlags(cpu, flags, size, old_cpl);
    cpu.segment[x86::kCs] = SegmentOf(cs, code);
    cpu.segment[x86::kSs] = ss;
    cpu.cpl = static_cast<uint8_t>(rpl);
    cpu.rip = ip;
    cpu.UpdateMode();
    if (cpu.StackWidth() == 2) {
      cpu.SetStackPointer(new_sp);
    } else {
      cpu.r[x86::kRsp] = size == 8   ? new_sp
                         : size == 4 ? static_cast<uint32_t>(new_sp)
                                     : new_sp & 0xffff;
    }
    if (rpl > old_cpl) {
      DropInnerSegments(cpu);
      cpu.UpdateMode();
    }
  } else {
    MarkAccessed(cpu, code);
    cpu.SetStackPointer(sp + 3 * size);
    SetReturnedFlags(cpu, flags, size, old_cpl);
    cpu.segment[x86::kCs] = SegmentOf(cs, code);
    cpu.rip = ip;
    cpu.UpdateMode();
  }
}

}  // namespace

void DeliverInterruption(Cpu& cpu, const Interruption& interruption) {
  if (cpu.ProtectedMode()) {
    DeliverProtected(cpu, interruption);
  } else {
    DeliverReal(cpu, interruption);
  }
}

void ReturnFromInterrupt(Cpu& cpu, unsigned operand_size) {
  cpu.nmi_blocked = false;
  if (!cpu.ProtectedMode() || cpu.Virtual8086()) {
    ReturnReal(cpu, operand_size);
  } else {
    ReturnProtected(cpu, operand_size);
  }
  cpu.RecheckInterrupts();
}

}  // namespace trapline::engine::soft

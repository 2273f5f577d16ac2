// SPDX-License-Identifier: Apache-2.0
// Transfers of control beyond the near branch: INT, IRET, far JMP, CALL and RET, SYSCALL and
// SYSENTER; and the loads of segment registers, with PUSHF and POPF (SDM volume 2; volume 3,
// sections 5.8 and 6.12).
#include "core/engine/soft/cpu.h"
#include "core/engine/soft/debug.h"
#include "core/engine/soft/delivery.h"
#include "core/engine/soft/interp/access.h"
#include "core/engine/soft/interp/hypercall_entry.h"
#include "core/engine/soft/interp/system.h"
#include "core/engine/soft/segments.h"

namespace trapline::engine::soft {
namespace {

using namespace x86::rflags;
namespace attr = x86::segment_attribute;

// ---- Software interrupts ----

const Op* Interrupt(Cpu& cpu, const Op* op, uint8_t vector, Source source) {
  cpu.rip = cpu.NextRipOf(op) & cpu.RipMask();
  DeliverInterruption(cpu, {vector, source});
  cpu.step_at_end = true;
  return cpu.Dispatch();
}
// The instructions whose vectors are exceptions', for whoever wants to see those.
const Op* ExceptionTrap(Cpu& cpu, const Op* op, x86::Vector vector, Source source) {
  if (cpu.host.WantsExceptions()) {
    cpu.rip = cpu.NextRipOf(op) & cpu.RipMask();
    throw Fault{.vector = vector, .trap = true};
  }
  return Interrupt(cpu, op, static_cast<uint8_t>(vector), source);
}
const Op* Int3(Cpu& cpu, const Op* op) {
  return ExceptionTrap(cpu, op, x86::Vector::kBreakpoint, Source::kSoftware);
}
const Op* Into(Cpu& cpu, const Op* op) {
  if (!cpu.lazy.Overflow()) return cpu.Leave(op);
  return ExceptionTrap(cpu, op, x86::Vector::kOverflow, Source::kSoftware);
}
const Op* Int1(Cpu& cpu, const Op* op) {
  // What MOV SS held back comes with it.
  if (cpu.debug_hits != 0) {
    cpu.dr[6] = (cpu.dr[6] & ~debug::kDr6Hits) | std::exchange(cpu.debug_hits, 0);
  }
  return ExceptionTrap(cpu, op, x86::Vector::kDebug, Source::kIcebp);
}

const Op* Iret(Cpu& cpu, const Op* op) {
  ReturnFromInterrupt(cpu, op->operand_size);
  return cpu.Dispatch();
}

// ---- Far branches ----

// CS for a direct far transfer at the current privilege level.
Descriptor CheckDirectTarget(Cpu& cpu, uint16_t selector, Descriptor d, uint64_t target) {
  uint32_t error = selector & kSelectorErrorMask;
  unsigned rpl = selector & 3;
  if (d.conforming() ? d.dpl() > cpu.cpl : (rpl > cpu.cpl || d.dpl() != cpu.cpl)) RaiseGp(error);
  if (!d.present()) Raise(x86::Vector::kSegmentNotPresent, error);
  if (cpu.LongMode() && d.long_code()) {
    if (d.default32()) RaiseGp(error);
    if (!x86::Canonical(target)) RaiseGp();
  } else if (target > d.limit()) {
    RaiseGp();
  }
  return d;
}
void EnterSegment(Cpu& cpu, uint16_t selector, Descriptor& d, uint64_t target, unsigned cpl) {
  MarkAccessed(cpu, d);
  cpu.segment[x86::kCs] =
      SegmentOf(static_cast<uint16_t>((selector & kSelectorErrorMask) | cpl), d);
  cpu.cpl = static_cast<uint8_t>(cpl);
  cpu.rip = target;
  cpu.UpdateMode();
}

struct CallGate {
  uint16_t selector;
  uint64_t offset;
  unsigned parameters;
  unsigned width;  // 2, 4 or 8 bytes a slot
};
CallGate ReadCallGate(Cpu& cpu, uint16_t selector, const Descriptor& d) {
  uint32_t error = selector & kSelectorErrorMask;
  if (d.dpl() < cpu.cpl || d.dpl() < (selector & 3u)) RaiseGp(error);
  if (!d.present()) Raise(x86::Vector::kSegmentNotPresent, error);
  CallGate gate{static_cast<uint16_t>(d.low >> 16), (d.low & 0xffff) | ((d.low >> 32) & 0xffff0000),
                static_cast<unsigned>((d.low >> 32) & 31), d.type() == kTypeCallGate ? 4u : 2u};
  if (cpu.LongMode()) {
    gate.offset |= ReadDescriptorHigh(cpu, selector, d);
    gate.width = 8;
    gate.parameters = 0;
  } else if (gate.width == 2) {
    gate.offset &= 0xffff;
  }
  return gate;
}
bool IsCallGate(const Cpu& cpu, const Descriptor& d) {
  return d.system() &&
         (d.type() == kTypeCallGate || (d.type() == kTypeCallGate16 && !cpu.LongMode()));
}
void RefuseTaskSwitch(const Cpu& cpu, const Descriptor& d, uint16_t selector) {
  bool task = d.system() && !cpu.LongMode() &&
              (d.type() == kTypeTaskGate || d.type() == kTypeTssAvailable ||
               d.type() == kTypeTss16Available);
  if (task)
    throw EngineFailure{"the guest switches tasks by hardware, which this engine does not offer"};
  RaiseGp(selector & kSelectorErrorMask);
}

void PushSlot(Cpu& cpu, uint64_t value, unsigned size) {
  switch (size) {
    case 2:
      cpu.Push<uint16_t>(static_cast<uint16_t>(value));
      break;
    case 4:
      cpu.Push<uint32_t>(static_cast<uint32_t>(value));
      break;
    default:
      cpu.Push<uint64_t>(value);
  }
}

void FarJump(Cpu& cpu, uint16_t selector, uint64_t target, unsigned size) {
  if (size == 2) target &= 0xffff;
  if (!cpu.ProtectedMode() || cpu.Virtual8086()) {
    if (target > cpu.segment[x86::kCs].limit) RaiseGp();
    LoadRealCs(cpu, selector);
    cpu.rip = target;
    cpu.UpdateMode();
    return;
  }
  if (NullSelector(selector)) RaiseGp();
  Descriptor d = ReadDescriptor(cpu, selector);
  if (IsCallGate(cpu, d)) {
    CallGate gate = ReadCallGate(cpu, selector, d);
    if (NullSelector(gate.selector)) RaiseGp();
    selector = gate.selector;
    target = gate.offset;
    d = ReadDescriptor(cpu, selector);
    selector &= kSelectorErrorMask;  // a gate's RPL does not count
  }
  if (d.system()) RefuseTaskSwitch(cpu, d, selector);
  if (!d.code()) RaiseGp(selector & kSelectorErrorMask);
  CheckDirectTarget(cpu, selector, d, target);
  EnterSegment(cpu, selector, d, target, cpu.cpl);
}

void CallInner(Cpu& cpu, const CallGate& gate, Descriptor& code, unsigned cpl,
               uint64_t return_rip) {
  TssStack stack = ReadTssStack(cpu, cpl);
  x86::Segment ss;
  if (cpu.LongMode()) {
    ss = {static_cast<uint16_t>(cpl), static_cast<uint16_t>(cpl << attr::kDplShift), 0, 0};
  } else {
    ss = CheckStackSegment(cpu, stack.ss, cpl, x86::Vector::kInvalidTss);
  }
  uint64_t parameters[31];
  uint64_t old_sp = cpu.StackPointer();
  for (unsigned i = 0; i < gate.parameters; ++i) {
    uint64_t at = cpu.StackAddress(old_sp + i * gate.width, Access::kRead, gate.width);
    parameters[i] = gate.width == 2 ? cpu.Load<uint16_t>(at) : cpu.Load<uint32_t>(at);
  }
  x86::Segment old_ss = cpu.segment[x86::kSs], old_cs = cpu.segment[x86::kCs];
  uint64_t old_rsp = cpu.r[x86::kRsp];
  uint8_t old_cpl = cpu.cpl;
  cpu.segment[x86::kSs] = ss;
  EnterSegment(cpu, gate.selector, code, gate.offset, cpl);
  try {
    cpu.SetStackPointer(stack.sp);
    PushSlot(cpu, old_ss.selector, gate.width);
    PushSlot(cpu, old_rsp, gate.width);
    for (unsigned i = gate.parameters; i-- > 0;) PushSlot(cpu, parameters[i], gate.width);
    PushSlot(cpu, old_cs.selector, gate.width);
    PushSlot(cpu, return_rip, gate.width);
  } catch (const Fault&) {
    cpu.segment[x86::kSs] = old_ss;
    cpu.segment[x86::kCs] = old_cs;
    cpu.r[x86::kRsp] = old_rsp;
    cpu.cpl = old_cpl;
    cpu.UpdateMode();
    throw;
  }
}

void FarCall(Cpu& cpu, uint16_t selector, uint64_t target, unsigned size, uint64_t return_rip) {
  if (size == 2) target &= 0xffff;
  uint16_t old_cs = cpu.segment[x86::kCs].selector;
  if (!cpu.ProtectedMode() || cpu.Virtual8086()) {
    if (target > cpu.segment[x86::kCs].limit) RaiseGp();
    uint64_t sp = cpu.StackPointer();
    cpu.ProbeWrite(cpu.StackAddress(sp - 2 * size, Access::kWrite, size), size);
    PushSlot(cpu, old_cs, size);
    PushSlot(cpu, return_rip, size);
    LoadRealCs(cpu, selector);
    cpu.rip = target;
    cpu.UpdateMode();
    return;
  }
  if (NullSelector(selector)) RaiseGp();
  Descriptor d = ReadDescriptor(cpu, selector);
  if (IsCallGate(cpu, d)) {
    CallGate gate = ReadCallGate(cpu, selector, d);
    uint32_t error = gate.selector & kSelectorErrorMask;
    if (NullSelector(gate.selector)) RaiseGp();
    d = ReadDescriptor(cpu, gate.selector);
    if (!d.code() || d.dpl() > cpu.cpl) RaiseGp(error);
    if (cpu.LongMode() && (!d.long_code() || d.default32())) RaiseGp(error);
    if (!d.present()) Raise(x86::Vector::kSegmentNotPresent, error);
    if (!d.conforming() && d.dpl() < cpu.cpl) {
      CallInner(cpu, gate, d, d.dpl(), return_rip);
      return;
    }
    selector = static_cast<uint16_t>(error);
    target = gate.offset;
    size = gate.width;
  } else {
    if (d.system()) RefuseTaskSwitch(cpu, d, selector);
    if (!d.code()) RaiseGp(selector & kSelectorErrorMask);
    CheckDirectTarget(cpu, selector, d, target);
  }
  uint64_t sp = cpu.StackPointer();
  cpu.ProbeWrite(cpu.StackAddress(sp - 2 * size, Access::kWrite, size), size);
  PushSlot(cpu, old_cs, size);
  PushSlot(cpu, return_rip, size);
  EnterSegment(cpu, selector, d, target, cpu.cpl);
}

uint64_t LoadSized(Cpu& cpu, uint64_t linear, unsigned size) {
  switch (size) {
    case 2:
      return cpu.Load<uint16_t>(linear);
    case 4:
      return cpu.Load<uint32_t>(linear);
    default:
      return cpu.Load<uint64_t>(linear);
  }
}

void FarReturn(Cpu& cpu, unsigned size, uint64_t drop) {
  uint64_t sp = cpu.StackPointer();
  uint64_t target = LoadSized(cpu, cpu.StackAddress(sp, Access::kRead, size), size);
  auto selector =
      static_cast<uint16_t>(LoadSized(cpu, cpu.StackAddress(sp + size, Access::kRead, size), size));
  if (!cpu.ProtectedMode() || cpu.Virtual8086()) {
    if (target > cpu.segment[x86::kCs].limit) RaiseGp();
    cpu.SetStackPointer(sp + 2 * size + drop);
    LoadRealCs(cpu, selector);
    cpu.rip = target;
    cpu.UpdateMode();
    return;
  }
  uint32_t error = selector & kSelectorErrorMask;
  if (NullSelector(selector)) RaiseGp();
  Descriptor d = ReadDescriptor(cpu, selector);
  unsigned rpl = selector & 3;
  if (!d.code() || rpl < cpu.cpl) RaiseGp(error);
  if (d.conforming() ? d.dpl() > rpl : d.dpl() != rpl) RaiseGp(error);
  if (!d.present()) Raise(x86::Vector::kSegmentNotPresent, error);
  bool to_64 = cpu.LongMode() && d.long_code();
  if (to_64 ? !x86::Canonical(target) : target > d.limit()) RaiseGp();
  if (rpl == cpu.cpl) {
    cpu.SetStackPointer(sp + 2 * size + drop);
    EnterSegment(cpu, selector, d, target, rpl);
    return;
  }
  uint64_t outer = sp + 2 * size + drop;
  uint64_t new_sp = LoadSized(cpu, cpu.StackAddress(outer, Access::kRead, size), size);
  auto new_ss = static_cast<uint16_t>(
      LoadSized(cpu, cpu.StackAddress(outer + size, Access::kRead, size), size));
  if (NullSelector(new_ss) && !(to_64 && rpl != 3)) RaiseGp();
  x86::Segment ss = CheckStackSegment(cpu, new_ss, rpl, x86::Vector::kGeneralProtection);
  EnterSegment(cpu, selector, d, target, rpl);
  cpu.segment[x86::kSs] = ss;
  DropInnerSegments(cpu);
  cpu.UpdateMode();
  cpu.SetStackPointer(new_sp + drop);
}

const Op* JumpPointer(Cpu& cpu, const Op* op) {
  FarJump(cpu, static_cast<uint16_t>(op->disp), op->imm, op->operand_size);
  return cpu.Dispatch();
}
const Op* CallPointer(Cpu& cpu, const Op* op) {
  FarCall(cpu, static_cast<uint16_t>(op->disp), op->imm, op->operand_size,
          cpu.NextRipOf(op) & cpu.RipMask());
  return cpu.Dispatch();
}
struct FarPointer {
  uint64_t offset;
  uint16_t selector;
};
FarPointer LoadFarPointer(Cpu& cpu, const Op* op) {
  uint64_t at = cpu.Address(op, op->operand_size + 2u);
  uint64_t offset = LoadSized(cpu, at, op->operand_size);
  return {offset, cpu.Load<uint16_t>(at + op->operand_size)};
}
const Op* JumpMemory(Cpu& cpu, const Op* op) {
  FarPointer p = LoadFarPointer(cpu, op);
  FarJump(cpu, p.selector, p.offset, op->operand_size);
  return cpu.Dispatch();
}
const Op* CallMemory(Cpu& cpu, const Op* op) {
  FarPointer p = LoadFarPointer(cpu, op);
  FarCall(cpu, p.selector, p.offset, op->operand_size, cpu.NextRipOf(op) & cpu.RipMask());
  return cpu.Dispatch();
}
const Op* ReturnFar(Cpu& cpu, const Op* op) {
  FarReturn(cpu, op->operand_size, op->imm & 0xffff);
  return cpu.Dispatch();
}

// ---- SYSCALL, SYSENTER ----

x86::Segment FlatCode(uint16_t selector, bool long_code, unsigned dpl) {
  auto attributes = static_cast<uint16_t>(attr::kPresent | attr::kNotSystem | attr::kCode |
                                          attr::kWritableOrReadable | attr::kAccessed |
                                          attr::kGranularity | (dpl << attr::kDplShift) |
                                          (long_code ? attr::kLong : attr::kDefault32));
  return {selector, attributes, 0xffffffff, 0};
}
x86::Segment FlatData(uint16_t selector, unsigned dpl) {
  auto attributes = static_cast<uint16_t>(
      attr::kPresent | attr::kNotSystem | attr::kWritableOrReadable | attr::kAccessed |
      attr::kGranularity | attr::kDefault32 | (dpl << attr::kDplShift));
  return {selector, attributes, 0xffffffff, 0};
}
void SwitchFlat(Cpu& cpu, uint16_t cs, uint16_t ss, bool long_code, unsigned cpl) {
  cpu.segment[x86::kCs] = FlatCode(cs, long_code, cpl);
  cpu.segment[x86::kSs] = FlatData(ss, cpl);
  cpu.cpl = static_cast<uint8_t>(cpl);
  cpu.UpdateMode();
}

// In compatibility mode, too, as AMD's processors have it; Intel's raise #UD there, which no system
// relies on.
const Op* Syscall(Cpu& cpu, const Op* op) {
  if (!(cpu.efer & x86::efer::kSce) || !cpu.LongMode()) RaiseUd();
  uint64_t target = cpu.Code64() ? cpu.msr.lstar : cpu.msr.cstar;
  cpu.r[x86::kRcx] = cpu.NextRipOf(op);
  cpu.r[x86::kR11] = cpu.Rflags() & ~kRf;
  auto cs = static_cast<uint16_t>((cpu.msr.star >> 32) & kSelectorErrorMask);
  cpu.SetRflags(cpu.Rflags() & ~cpu.msr.fmask & ~kRf);
  SwitchFlat(cpu, cs, static_cast<uint16_t>(cs + 8), true, 0);
  cpu.rip = target;
  cpu.step_at_end = true;
  return cpu.Dispatch();
}
const Op* Sysret(Cpu& cpu, const Op* op) {
  if (!(cpu.efer & x86::efer::kSce) || !cpu.Code64()) RaiseUd();
  if (cpu.cpl != 0) RaiseGp();
  auto base = static_cast<uint16_t>(cpu.msr.star >> 48);
  bool wide = op->operand_size == 8;
  uint64_t target = wide ? cpu.r[x86::kRcx] : static_cast<uint32_t>(cpu.r[x86::kRcx]);
  if (!x86::Canonical(target)) RaiseGp();
  constexpr uint64_t kKept = kArithmetic | kTf | kIf | kDf | kIopl | kNt | kAc | kVif | kVip | kId;
  cpu.SetRflags(cpu.r[x86::kR11] & kKept);
  SwitchFlat(cpu, static_cast<uint16_t>((base + (wide ? 16 : 0)) | 3),
             static_cast<uint16_t>((base + 8) | 3), wide, 3);
  cpu.rip = target;
  cpu.step_at_end = true;
  return cpu.Dispatch();
}
const Op* Sysenter(Cpu& cpu, const Op*) {
  if (!cpu.ProtectedMode() || NullSelector(static_cast<uint16_t>(cpu.msr.sysenter_cs))) RaiseGp();
  auto cs = static_cast<uint16_t>(cpu.msr.sysenter_cs & kSelectorErrorMask);
  bool wide = cpu.LongMode();
  cpu.SetRflags(cpu.Rflags() & ~(kVm | kIf | kRf));
  SwitchFlat(cpu, cs, static_cast<uint16_t>(cs + 8), wide, 0);
  cpu.r[x86::kRsp] = wide ? cpu.msr.sysenter_esp : static_cast<uint32_t>(cpu.msr.sysenter_esp);
  cpu.rip = wide ? cpu.msr.sysenter_eip : static_cast<uint32_t>(cpu.msr.sysenter_eip);
  return cpu.Dispatch();
}
const Op* Sysexit(Cpu& cpu, const Op* op) {
  auto cs = static_cast<uint16_t>(cpu.msr.sysenter_cs);
  if (!cpu.ProtectedMode() || NullSelector(cs) || cpu.cpl != 0) RaiseGp();
  bool wide = op->operand_size == 8;
  uint64_t target = cpu.r[x86::kRdx], sp = cpu.r[x86::kRcx];
  if (wide && (!x86::Canonical(target) || !x86::Canonical(sp))) RaiseGp();
  auto base = static_cast<uint16_t>(cs + (wide ? 32 : 16));
  SwitchFlat(cpu, static_cast<uint16_t>(base | 3), static_cast<uint16_t>((base + 8) | 3), wide, 3);
  cpu.r[x86::kRsp] = wide ? sp : static_cast<uint32_t>(sp);
  cpu.rip = wide ? target : static_cast<uint32_t>(target);
  return cpu.Dispatch();
}

// ---- Segment registers ----

const Op* ReadSegment(Cpu& cpu, const Op* op) {
  uint16_t selector = cpu.segment[op->reg].selector;
  if (op->flags & kOpMemory) {
    cpu.Store<uint16_t>(cpu.AddressForWrite(op, 2), selector);
    return cpu.Next(op);
  }
  SetSized(cpu, op->rm, op->operand_size, selector);
  return op + 1;
}
const Op* WriteSegment(Cpu& cpu, const Op* op) {
  uint16_t selector =
      op->flags & kOpMemory ? cpu.Load<uint16_t>(cpu.Address(op, 2)) : cpu.Get<uint16_t>(op->rm);
  LoadSegment(cpu, static_cast<x86::SegmentName>(op->reg), selector);
  if (op->reg == x86::kSs) cpu.interrupt_shadow = cpu.debug_shadow = true;
  return cpu.Leave(op);
}
template <x86::SegmentName kName>
const Op* LoadPointer(Cpu& cpu, const Op* op) {
  FarPointer p = LoadFarPointer(cpu, op);
  LoadSegment(cpu, kName, p.selector);
  SetSized(cpu, op->reg, op->operand_size, p.offset);
  return cpu.Leave(op);
}
const Op* PushSegment(Cpu& cpu, const Op* op) {
  uint16_t selector = cpu.segment[op->reg].selector;
  unsigned size = cpu.Code64() && op->operand_size == 4 ? 8 : op->operand_size;
  if (size == 4) {
    // Processors write the low half of the slot only.
    uint64_t sp = cpu.StackPointer() - 4;
    cpu.Store<uint16_t>(cpu.StackAddress(sp, Access::kWrite, 4), selector);
    cpu.SetStackPointer(sp);
  } else {
    PushSlot(cpu, selector, size);
  }
  return cpu.Next(op);
}
const Op* PopSegment(Cpu& cpu, const Op* op) {
  unsigned size = cpu.Code64() && op->operand_size == 4 ? 8 : op->operand_size;
  uint64_t sp = cpu.StackPointer();
  uint16_t selector = cpu.Load<uint16_t>(cpu.StackAddress(sp, Access::kRead, 2));
  // The stack pointer moves in the width of the stack that was popped, even where SS itself is
  // loaded.
  unsigned width = cpu.StackWidth();
  LoadSegment(cpu, static_cast<x86::SegmentName>(op->reg), selector);
  sp += size;
  if (width == 2) {
    cpu.Set<uint16_t>(SlotOffset(x86::kRsp), static_cast<uint16_t>(sp));
  } else {
    cpu.r[x86::kRsp] = width == 4 ? static_cast<uint32_t>(sp) : sp;
  }
  if (op->reg == x86::kSs) cpu.interrupt_shadow = cpu.debug_shadow = true;
  return cpu.Leave(op);
}

// ---- Flags on the stack ----

unsigned StackSlot(const Cpu& cpu, const Op* op) {
  return cpu.Code64() && op->operand_size == 4 ? 8 : op->operand_size;
}
const Op* PushFlags(Cpu& cpu, const Op* op) {
  if (cpu.Virtual8086() && cpu.Iopl() < 3) RaiseGp();
  PushSlot(cpu, cpu.Rflags() & ~(kVm | kRf), StackSlot(cpu, op));
  return cpu.Next(op);
}
const Op* PopFlags(Cpu& cpu, const Op* op) {
  if (cpu.Virtual8086() && cpu.Iopl() < 3) RaiseGp();
  unsigned size = StackSlot(cpu, op);
  uint64_t sp = cpu.StackPointer();
  uint64_t value = LoadSized(cpu, cpu.StackAddress(sp, Access::kRead, size), size);
  cpu.SetStackPointer(sp + size);
  uint64_t changeable = kArithmetic | kTf | kDf | kNt;
  if (size > 2) changeable |= kAc | kId;
  if (cpu.Virtual8086() || cpu.cpl <= cpu.Iopl()) changeable |= kIf;
  if (cpu.cpl == 0) changeable |= kIopl;
  cpu.SetRflags((cpu.Rflags() & ~changeable & ~kRf) | (value & changeable));
  cpu.UpdateMode();
  return cpu.Leave(op);
}

template <Handler kHandler>
bool Plain(const Instruction&, Op& op) {
  op.run = kHandler;
  return !(op.flags & kOpLock);
}
template <Handler kHandler>
bool OnStack(const Instruction&, Op& op) {
  op.run = kHandler;
  op.segment = x86::kSs;
  return !(op.flags & kOpLock);
}
template <Handler kHandler>
bool MemoryOnly(const Instruction&, Op& op) {
  op.run = kHandler;
  return (op.flags & kOpMemory) && !(op.flags & kOpLock);
}

}  // namespace

const Op* SoftwareInterrupt(Cpu& cpu, const Op* op) {
  if (cpu.Virtual8086() && cpu.Iopl() < 3) RaiseGp();
  return Interrupt(cpu, op, static_cast<uint8_t>(op->imm), Source::kSoftware);
}

bool BindSegmentMove(const Instruction& in, Op& op) {
  if (op.flags & kOpLock) return false;
  switch (in.mnemonic()) {
    case ZYDIS_MNEMONIC_PUSH:
      op.run = PushSegment;
      op.segment = x86::kSs;
      break;
    case ZYDIS_MNEMONIC_POP:
      op.run = PopSegment;
      op.segment = x86::kSs;
      break;
    default: {
      bool load = in.IsRegister(0) && !IsGeneral(in.operands[0].reg.value);
      op.run = load ? WriteSegment : ReadSegment;
      if (load && op.reg == x86::kCs) return false;
    }
  }
  if (in.mnemonic() != ZYDIS_MNEMONIC_MOV) {
    op.reg = static_cast<uint8_t>(ZydisRegisterGetId(in.operands[0].reg.value));
  }
  return op.reg < x86::kSegmentCount;
}

bool BindFarBranch(const Instruction& in, Op& op) {
  bool call = in.mnemonic() == ZYDIS_MNEMONIC_CALL;
  if (op.flags & kOpMemory) {
    op.run = call ? CallMemory : JumpMemory;
  } else {
    op.run = call ? CallPointer : JumpPointer;
  }
  return !(op.flags & kOpLock);
}

std::span<const Binding> TransferBindings() {
  static constexpr Binding kBindings[] = {
      {ZYDIS_MNEMONIC_INT, Plain<SoftwareInterrupt>, kEndsBlock},
      {ZYDIS_MNEMONIC_INT3, Plain<Int3>, kEndsBlock},
      {ZYDIS_MNEMONIC_INTO, Plain<Into>, kEndsBlock},
      {ZYDIS_MNEMONIC_INT1, Plain<Int1>, kEndsBlock},
      {ZYDIS_MNEMONIC_IRET, OnStack<Iret>, kEndsBlock},
      {ZYDIS_MNEMONIC_IRETD, OnStack<Iret>, kEndsBlock},
      {ZYDIS_MNEMONIC_IRETQ, OnStack<Iret>, kEndsBlock},
      {ZYDIS_MNEMONIC_RET, OnStack<ReturnFar>, kEndsBlock},
      {ZYDIS_MNEMONIC_SYSCALL, Plain<Syscall>, kEndsBlock},
      {ZYDIS_MNEMONIC_SYSRET, Plain<Sysret>, kEndsBlock},
      {ZYDIS_MNEMONIC_SYSENTER, Plain<Sysenter>, kEndsBlock},
      {ZYDIS_MNEMONIC_SYSEXIT, Plain<Sysexit>, kEndsBlock},
      {ZYDIS_MNEMONIC_LDS, MemoryOnly<LoadPointer<x86::kDs>>, kEndsBlock},
      {ZYDIS_MNEMONIC_LES, MemoryOnly<LoadPointer<x86::kEs>>, kEndsBlock},
      {ZYDIS_MNEMONIC_LFS, MemoryOnly<LoadPointer<x86::kFs>>, kEndsBlock},
      {ZYDIS_MNEMONIC_LGS, MemoryOnly<LoadPointer<x86::kGs>>, kEndsBlock},
      {ZYDIS_MNEMONIC_LSS, MemoryOnly<LoadPointer<x86::kSs>>, kEndsBlock},
      {ZYDIS_MNEMONIC_PUSHF, OnStack<PushFlags>},
      {ZYDIS_MNEMONIC_PUSHFD, OnStack<PushFlags>},
      {ZYDIS_MNEMONIC_PUSHFQ, OnStack<PushFlags>},
      {ZYDIS_MNEMONIC_POPF, OnStack<PopFlags>, kEndsBlock},
      {ZYDIS_MNEMONIC_POPFD, OnStack<PopFlags>, kEndsBlock},
      {ZYDIS_MNEMONIC_POPFQ, OnStack<PopFlags>, kEndsBlock},
  };
  return kBindings;
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Privileged and control instructions: control registers, descriptor tables, MSRs, time, caches,
// flags of the system.
#include "core/engine/soft/interp/system.h"
#include "core/engine/soft/cpu.h"
#include "core/engine/soft/cpuid.h"
#include "core/engine/soft/debug.h"
#include "core/engine/soft/interp/access.h"
#include "core/engine/soft/msrs.h"
#include "core/engine/soft/segments.h"

namespace trapline::engine::soft {
namespace {

using namespace x86::rflags;

void RequireCpl0(const Cpu& cpu) {
  if (cpu.cpl != 0) RaiseGp();
}
void RequireProtected(const Cpu& cpu) {
  if (!cpu.ProtectedMode() || cpu.Virtual8086()) RaiseUd();
}
// UMIP keeps the system's addresses from user mode (SDM volume 3, section 2.5).
void CheckUmip(const Cpu& cpu) {
  if (cpu.cpl > 0 && (cpu.cr4 & x86::cr4::kUmip)) RaiseGp();
}

void SetPair(Cpu& cpu, uint64_t value) {
  cpu.r[x86::kRax] = static_cast<uint32_t>(value);
  cpu.r[x86::kRdx] = value >> 32;
}

// A 16-bit result into a register of the operand size, or into a word of memory.
const Op* StoreWord(Cpu& cpu, const Op* op, uint64_t value) {
  if (op->flags & kOpMemory) {
    cpu.Store<uint16_t>(cpu.AddressForWrite(op, 2), static_cast<uint16_t>(value));
    return cpu.Next(op);
  }
  SetSized(cpu, op->rm, op->operand_size, value);
  return op + 1;
}
uint16_t LoadWord(Cpu& cpu, const Op* op) {
  return op->flags & kOpMemory ? cpu.Load<uint16_t>(cpu.Address(op, 2)) : cpu.Get<uint16_t>(op->rm);
}

// ---- Descriptor tables ----

template <x86::DescriptorTable Cpu::*kTable>
const Op* StoreTable(Cpu& cpu, const Op* op) {
  CheckUmip(cpu);
  unsigned size = cpu.Code64() ? 10 : 6;
  uint64_t at = cpu.AddressForWrite(op, size);
  cpu.ProbeWrite(at, size);
  cpu.Store<uint16_t>(at, (cpu.*kTable).limit);
  if (cpu.Code64()) {
    cpu.Store<uint64_t>(at + 2, (cpu.*kTable).base);
  } else {
    cpu.Store<uint32_t>(at + 2, static_cast<uint32_t>((cpu.*kTable).base));
  }
  return cpu.Next(op);
}
template <x86::DescriptorTable Cpu::*kTable>
const Op* LoadTable(Cpu& cpu, const Op* op) {
  RequireCpl0(cpu);
  uint64_t at = cpu.Address(op, cpu.Code64() ? 10 : 6);
  x86::DescriptorTable table;
  table.limit = cpu.Load<uint16_t>(at);
  if (cpu.Code64()) {
    table.base = cpu.Load<uint64_t>(at + 2);
    if (!x86::Canonical(table.base)) RaiseGp();
  } else {
    table.base = cpu.Load<uint32_t>(at + 2) & (op->operand_size == 2 ? 0xffffff : 0xffffffff);
  }
  cpu.*kTable = table;
  return op + 1;
}
const Op* Sldt(Cpu& cpu, const Op* op) {
  RequireProtected(cpu);
  CheckUmip(cpu);
  return StoreWord(cpu, op, cpu.ldtr.selector);
}
const Op* Str(Cpu& cpu, const Op* op) {
  RequireProtected(cpu);
  CheckUmip(cpu);
  return StoreWord(cpu, op, cpu.tr.selector);
}
const Op* Lldt(Cpu& cpu, const Op* op) {
  RequireProtected(cpu);
  RequireCpl0(cpu);
  LoadLdt(cpu, LoadWord(cpu, op));
  return op + 1;
}
const Op* Ltr(Cpu& cpu, const Op* op) {
  RequireProtected(cpu);
  RequireCpl0(cpu);
  LoadTaskRegister(cpu, LoadWord(cpu, op));
  return op + 1;
}

// ---- Looking at descriptors ----

// The descriptor that the operand names if this privilege level may know about it.
std::optional<Descriptor> Visible(Cpu& cpu, uint16_t selector) {
  if (NullSelector(selector)) return std::nullopt;
  Descriptor d;
  try {
    d = ReadDescriptor(cpu, selector);
  } catch (const Fault& fault) {
    if (fault.vector == x86::Vector::kPageFault) throw;
    return std::nullopt;
  }
  bool conforming = d.code() && d.conforming();
  if (!conforming && (cpu.cpl > d.dpl() || (selector & 3u) > d.dpl())) return std::nullopt;
  return d;
}
bool LarKnows(const Cpu& cpu, const Descriptor& d) {
  if (!d.system()) return true;
  switch (d.type()) {
    case kTypeLdt:
    case kTypeTssAvailable:
    case kTypeTssBusy:
    case kTypeCallGate:
      return true;
    case kTypeTss16Available:
    case kTypeTss16Busy:
    case kTypeCallGate16:
    case kTypeTaskGate:
      return !cpu.LongMode();
    default:
      return false;
  }
}
bool LslKnows(const Cpu& cpu, const Descriptor& d) {
  return LarKnows(cpu, d) &&
         (!d.system() ||
          (d.type() != kTypeCallGate && d.type() != kTypeCallGate16 && d.type() != kTypeTaskGate));
}
const Op* Lar(Cpu& cpu, const Op* op) {
  RequireProtected(cpu);
  auto d = Visible(cpu, LoadWord(cpu, op));
  bool known = d && LarKnows(cpu, *d);
  cpu.lazy.SetZero(known);
  if (known) SetSized(cpu, op->reg, op->operand_size, (d->low >> 32) & 0x00ffff00);
  return op + 1;
}
const Op* Lsl(Cpu& cpu, const Op* op) {
  RequireProtected(cpu);
  auto d = Visible(cpu, LoadWord(cpu, op));
  bool known = d && LslKnows(cpu, *d);
  cpu.lazy.SetZero(known);
  if (known) SetSized(cpu, op->reg, op->operand_size, d->limit());
  return op + 1;
}
template <bool kWrite>
const Op* Verify(Cpu& cpu, const Op* op) {
  RequireProtected(cpu);
  auto d = Visible(cpu, LoadWord(cpu, op));
  bool good = d && !d->system() && (kWrite ? d->writable() : !d->code() || d->readable());
  cpu.lazy.SetZero(good);
  return op + 1;
}
const Op* Arpl(Cpu& cpu, const Op* op) {
  RequireProtected(cpu);
  auto wanted = static_cast<uint16_t>(cpu.Get<uint16_t>(op->reg) & 3);
  uint16_t selector = LoadWord(cpu, op);
  bool raise = (selector & 3) < wanted;
  auto result = static_cast<uint16_t>(raise ? (selector & ~3) | wanted : selector);
  if (op->flags & kOpMemory) {
    if (raise) cpu.Store<uint16_t>(cpu.AddressForWrite(op, 2), result);
  } else {
    cpu.Set<uint16_t>(op->rm, result);
  }
  cpu.lazy.SetZero(raise);
  return cpu.Next(op);
}

// ---- Control and debug registers ----

void SetCr0(Cpu& cpu, uint64_t value) {
  using namespace x86::cr0;
  constexpr uint64_t kKnown = kPe | kMp | kEm | kTs | kEt | kNe | kWp | kAm | kNw | kCd | kPg;
  if (value >> 32) RaiseGp();
  value = (value & kKnown) | kEt;
  if ((value & kPg) && !(value & kPe)) RaiseGp();
  if ((value & kNw) && !(value & kCd)) RaiseGp();
  bool paging_on = (value & kPg) && !(cpu.cr0 & kPg);
  bool paging_off = !(value & kPg) && (cpu.cr0 & kPg);
  if (paging_on && (cpu.efer & x86::efer::kLme)) {
    if (!(cpu.cr4 & x86::cr4::kPae)) RaiseGp();
    if (cpu.segment[x86::kCs].attributes & x86::segment_attribute::kLong) RaiseGp();
    cpu.efer |= x86::efer::kLma;
  }
  if (paging_off && cpu.LongMode()) {
    if (cpu.Code64()) RaiseGp();
    cpu.efer &= ~x86::efer::kLma;
  }
  uint64_t changed = cpu.cr0 ^ value;
  cpu.cr0 = value;
  if (changed & (kPg | kWp | kPe)) cpu.FlushTlb(false);
  cpu.UpdateMode();
}
void SetCr3(Cpu& cpu, uint64_t value) {
  if (cpu.LongMode() && (value >> kPhysicalAddressBits)) RaiseGp();
  cpu.cr3 = value;
  cpu.FlushTlb((cpu.cr4 & x86::cr4::kPge) != 0);
}
void SetCr4(Cpu& cpu, uint64_t value) {
  using namespace x86::cr4;
  constexpr uint64_t kKnown = kTsd | kDe | kPse | kPae | kMce | kPge | kPce | kOsfxsr |
                              kOsxmmexcpt | kUmip | kFsgsbase | kSmep | kSmap;
  if (value & ~kKnown) RaiseGp();
  if (cpu.LongMode() && !(value & kPae)) RaiseGp();
  uint64_t changed = cpu.cr4 ^ value;
  cpu.cr4 = value;
  if (changed & (kPse | kPae | kPge | kSmep | kSmap)) cpu.FlushTlb(false);
  cpu.UpdateMode();
}

const Op* ReadControl(Cpu& cpu, const Op* op) {
  RequireCpl0(cpu);
  uint64_t value;
  switch (op->reg) {
    case 0:
      value = cpu.cr0;
      break;
    case 2:
      value = cpu.cr2;
      break;
    case 3:
      value = cpu.cr3;
      break;
    case 4:
      value = cpu.cr4;
      break;
    default:
      value = cpu.host.ReadTaskPriority();
      break;
  }
  cpu.Set<uint64_t>(op->rm, cpu.Code64() ? value : static_cast<uint32_t>(value));
  return op + 1;
}
const Op* WriteControl(Cpu& cpu, const Op* op) {
  RequireCpl0(cpu);
  uint64_t value = cpu.Code64() ? cpu.Get<uint64_t>(op->rm) : cpu.Get<uint32_t>(op->rm);
  switch (op->reg) {
    case 0:
      SetCr0(cpu, value);
      break;
    case 2:
      cpu.cr2 = value;
      break;
    case 3:
      SetCr3(cpu, value);
      break;
    case 4:
      SetCr4(cpu, value);
      break;
    default:
      if (value > 15) RaiseGp();
      cpu.host.WriteTaskPriority(static_cast<uint8_t>(value));
      cpu.RecheckInterrupts();
  }
  return cpu.Leave(op);
}

unsigned DebugNumber(const Cpu& cpu, const Op* op) {
  if (op->reg == 4 || op->reg == 5) {
    if (cpu.cr4 & x86::cr4::kDe) RaiseUd();
    return op->reg + 2u;
  }
  return op->reg;
}
void CheckDebugAccess(Cpu& cpu) {
  RequireCpl0(cpu);
  if (cpu.dr[7] & debug::kDr7GeneralDetect) {
    cpu.dr[6] |= debug::kDr6GeneralDetect;
    cpu.dr[7] &= ~debug::kDr7GeneralDetect;
    Raise(x86::Vector::kDebug);
  }
}
const Op* ReadDebug(Cpu& cpu, const Op* op) {
  unsigned number = DebugNumber(cpu, op);
  CheckDebugAccess(cpu);
  cpu.Set<uint64_t>(op->rm, cpu.dr[number]);
  return op + 1;
}
const Op* WriteDebug(Cpu& cpu, const Op* op) {
  unsigned number = DebugNumber(cpu, op);
  CheckDebugAccess(cpu);
  uint64_t value = cpu.Code64() ? cpu.Get<uint64_t>(op->rm) : cpu.Get<uint32_t>(op->rm);
  if (number >= 6 && (value >> 32)) RaiseGp();
  if (number == 6) value = (value & debug::kDr6Writable) | debug::kDr6Ones;
  if (number == 7) value = (value & debug::kDr7Writable) | debug::kDr7One;
  if (number != 6 && value != cpu.dr[number]) {
    cpu.dr[number] = value;
    cpu.FlushTlb(false);  // which pages are watched may have changed
  }
  cpu.dr[number] = value;
  return cpu.Leave(op);
}

const Op* Clts(Cpu& cpu, const Op* op) {
  RequireCpl0(cpu);
  cpu.cr0 &= ~x86::cr0::kTs;
  return op + 1;
}
const Op* Smsw(Cpu& cpu, const Op* op) {
  CheckUmip(cpu);
  return StoreWord(cpu, op, cpu.cr0);
}
const Op* Lmsw(Cpu& cpu, const Op* op) {
  RequireCpl0(cpu);
  uint64_t value = LoadWord(cpu, op) & 0xf;
  // PE can be set this way, not cleared.
  SetCr0(cpu, (cpu.cr0 & ~uint64_t{0xe}) | value);
  return cpu.Leave(op);
}

// ---- Caches and TLB ----

const Op* Invlpg(Cpu& cpu, const Op* op) {
  RequireCpl0(cpu);
  uint64_t linear = cpu.Offset(op);
  linear = cpu.Code64() ? linear + cpu.Get<uint64_t>(op->segment_base)
                        : static_cast<uint32_t>(linear + cpu.segment[op->segment].base);
  cpu.FlushPage(linear);
  return cpu.Leave(op);
}
const Op* Privileged(Cpu& cpu, const Op* op) {
  RequireCpl0(cpu);
  return op + 1;
}

// ---- MSRs and time ----

const Op* Rdmsr(Cpu& cpu, const Op* op) {
  RequireCpl0(cpu);
  SetPair(cpu, ReadMsr(cpu, static_cast<uint32_t>(cpu.r[x86::kRcx])));
  return op + 1;
}
const Op* Wrmsr(Cpu& cpu, const Op* op) {
  RequireCpl0(cpu);
  uint64_t value = cpu.r[x86::kRdx] << 32 | static_cast<uint32_t>(cpu.r[x86::kRax]);
  WriteMsr(cpu, static_cast<uint32_t>(cpu.r[x86::kRcx]), value);
  return cpu.Leave(op);
}
const Op* Rdtsc(Cpu& cpu, const Op* op) {
  if (cpu.cpl != 0 && (cpu.cr4 & x86::cr4::kTsd)) RaiseGp();
  SetPair(cpu, cpu.host.Tsc() + cpu.msr.tsc_offset);
  return op + 1;
}
const Op* Rdtscp(Cpu& cpu, const Op* op) {
  Rdtsc(cpu, op);
  cpu.r[x86::kRcx] = static_cast<uint32_t>(cpu.msr.tsc_aux);
  return op + 1;
}
const Op* Rdpmc(Cpu&, const Op*) { RaiseGp(); }  // there are no performance counters
const Op* Cpuid(Cpu& cpu, const Op* op) {
  CpuidLeaf leaf = CpuidOf(cpu, static_cast<uint32_t>(cpu.r[x86::kRax]),
                           static_cast<uint32_t>(cpu.r[x86::kRcx]));
  cpu.r[x86::kRax] = leaf.eax;
  cpu.r[x86::kRbx] = leaf.ebx;
  cpu.r[x86::kRcx] = leaf.ecx;
  cpu.r[x86::kRdx] = leaf.edx;
  return op + 1;
}

// ---- Interrupt flag, halt ----

void RequireIopl(const Cpu& cpu) {
  if (cpu.ProtectedMode() && cpu.cpl > cpu.Iopl()) RaiseGp();
}
const Op* Cli(Cpu& cpu, const Op* op) {
  RequireIopl(cpu);
  cpu.rflags_rest &= ~kIf;
  return op + 1;
}
const Op* Sti(Cpu& cpu, const Op* op) {
  RequireIopl(cpu);
  if (!(cpu.rflags_rest & kIf)) {
    cpu.rflags_rest |= kIf;
    cpu.interrupt_shadow = true;
    cpu.RecheckInterrupts();
  }
  return cpu.Leave(op);
}
const Op* Hlt(Cpu& cpu, const Op* op) {
  RequireCpl0(cpu);
  cpu.halted = true;
  return cpu.Leave(op);
}

// ---- Segment bases, access control ----

template <x86::SegmentName kName, bool kWrite>
const Op* SegmentBase(Cpu& cpu, const Op* op) {
  if (!cpu.Code64() || !(cpu.cr4 & x86::cr4::kFsgsbase)) RaiseUd();
  if constexpr (kWrite) {
    uint64_t base = op->operand_size == 8 ? cpu.Get<uint64_t>(op->rm) : cpu.Get<uint32_t>(op->rm);
    if (!x86::Canonical(base)) RaiseGp();
    cpu.segment[kName].base = base;
    cpu.UpdateMode();
  } else if (op->operand_size == 8) {
    cpu.Set<uint64_t>(op->rm, cpu.segment[kName].base);
  } else {
    cpu.Set<uint32_t>(op->rm, static_cast<uint32_t>(cpu.segment[kName].base));
  }
  return op + 1;
}
const Op* Swapgs(Cpu& cpu, const Op* op) {
  if (!cpu.Code64()) RaiseUd();
  RequireCpl0(cpu);
  std::swap(cpu.segment[x86::kGs].base, cpu.msr.kernel_gs_base);
  cpu.UpdateMode();
  return op + 1;
}
template <bool kSet>
const Op* AccessControl(Cpu& cpu, const Op* op) {
  if (cpu.cpl != 0) RaiseUd();
  cpu.rflags_rest = kSet ? cpu.rflags_rest | kAc : cpu.rflags_rest & ~kAc;
  cpu.UpdateMode();
  return op + 1;
}
template <typename T>
const Op* Bound(Cpu& cpu, const Op* op) {
  uint64_t at = cpu.Address(op, 2 * sizeof(T));
  T low = cpu.Load<T>(at), high = cpu.Load<T>(at + sizeof(T)), index = cpu.Get<T>(op->reg);
  if (index < low || index > high) Raise(x86::Vector::kBoundRange);
  return op + 1;
}
bool BindBound(const Instruction&, Op& op) {
  op.run = op.operand_size == 2 ? Bound<int16_t> : Bound<int32_t>;
  return true;
}

template <Handler kHandler>
bool Plain(const Instruction&, Op& op) {
  op.run = kHandler;
  return !(op.flags & kOpLock);
}
template <Handler kHandler>
bool MemoryOnly(const Instruction&, Op& op) {
  op.run = kHandler;
  return (op.flags & kOpMemory) && !(op.flags & kOpLock);
}

}  // namespace

bool BindControlMove(const Instruction& in, Op& op) {
  bool to = !IsGeneral(in.operands[0].reg.value);
  ZydisRegister reg = in.operands[to ? 0 : 1].reg.value;
  bool debug = ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_DEBUG;
  bool legal = debug ? op.reg < 8 : op.reg == 0 || (op.reg >= 2 && op.reg <= 4) || op.reg == 8;
  op.run = debug ? (to ? WriteDebug : ReadDebug) : (to ? WriteControl : ReadControl);
  return legal && !(op.flags & kOpLock);
}

std::span<const Binding> ControlBindings() {
  static constexpr Binding kBindings[] = {
      {ZYDIS_MNEMONIC_SGDT, MemoryOnly<StoreTable<&Cpu::gdtr>>},
      {ZYDIS_MNEMONIC_SIDT, MemoryOnly<StoreTable<&Cpu::idtr>>},
      {ZYDIS_MNEMONIC_LGDT, MemoryOnly<LoadTable<&Cpu::gdtr>>},
      {ZYDIS_MNEMONIC_LIDT, MemoryOnly<LoadTable<&Cpu::idtr>>},
      {ZYDIS_MNEMONIC_SLDT, Plain<Sldt>},
      {ZYDIS_MNEMONIC_STR, Plain<Str>},
      {ZYDIS_MNEMONIC_LLDT, Plain<Lldt>},
      {ZYDIS_MNEMONIC_LTR, Plain<Ltr>},
      {ZYDIS_MNEMONIC_LAR, Plain<Lar>},
      {ZYDIS_MNEMONIC_LSL, Plain<Lsl>},
      {ZYDIS_MNEMONIC_VERR, Plain<Verify<false>>},
      {ZYDIS_MNEMONIC_VERW, Plain<Verify<true>>},
      {ZYDIS_MNEMONIC_ARPL, Plain<Arpl>},
      {ZYDIS_MNEMONIC_CLTS, Plain<Clts>},
      {ZYDIS_MNEMONIC_SMSW, Plain<Smsw>},
      {ZYDIS_MNEMONIC_LMSW, Plain<Lmsw>, kEndsBlock},
      {ZYDIS_MNEMONIC_INVLPG, MemoryOnly<Invlpg>, kEndsBlock},
      {ZYDIS_MNEMONIC_INVD, Plain<Privileged>},
      {ZYDIS_MNEMONIC_WBINVD, Plain<Privileged>},
      {ZYDIS_MNEMONIC_RDMSR, Plain<Rdmsr>},
      {ZYDIS_MNEMONIC_WRMSR, Plain<Wrmsr>, kEndsBlock},
      {ZYDIS_MNEMONIC_RDTSC, Plain<Rdtsc>},
      {ZYDIS_MNEMONIC_RDTSCP, Plain<Rdtscp>},
      {ZYDIS_MNEMONIC_RDPMC, Plain<Rdpmc>},
      {ZYDIS_MNEMONIC_CPUID, Plain<Cpuid>},
      {ZYDIS_MNEMONIC_CLI, Plain<Cli>},
      {ZYDIS_MNEMONIC_STI, Plain<Sti>, kEndsBlock},
      {ZYDIS_MNEMONIC_HLT, Plain<Hlt>, kEndsBlock},
      {ZYDIS_MNEMONIC_RDFSBASE, Plain<SegmentBase<x86::kFs, false>>},
      {ZYDIS_MNEMONIC_RDGSBASE, Plain<SegmentBase<x86::kGs, false>>},
      {ZYDIS_MNEMONIC_WRFSBASE, Plain<SegmentBase<x86::kFs, true>>},
      {ZYDIS_MNEMONIC_WRGSBASE, Plain<SegmentBase<x86::kGs, true>>},
      {ZYDIS_MNEMONIC_SWAPGS, Plain<Swapgs>},
      {ZYDIS_MNEMONIC_STAC, Plain<AccessControl<true>>},
      {ZYDIS_MNEMONIC_CLAC, Plain<AccessControl<false>>},
      {ZYDIS_MNEMONIC_BOUND, BindBound},
  };
  return kBindings;
}

}  // namespace trapline::engine::soft

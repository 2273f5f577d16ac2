// SPDX-License-Identifier: Apache-2.0
// IN OUT INS OUTS (SDM volume 2). Every access goes to the host at once; repeated ones can be
// interrupted between two.
#include "core/engine/soft/cpu.h"
#include "core/engine/soft/debug.h"
#include "core/engine/soft/interp/system.h"
#include "core/engine/soft/segments.h"

namespace trapline::engine::soft {
namespace {

constexpr uint8_t kRaxOffset = SlotOffset(x86::kRax);

uint16_t PortOf(Cpu& cpu, const Op* op) {
  return op->aux ? static_cast<uint16_t>(cpu.r[x86::kRdx]) : static_cast<uint16_t>(op->imm & 0xff);
}

template <typename T>
const Op* In(Cpu& cpu, const Op* op) {
  uint16_t port = PortOf(cpu, op);
  CheckPortPermission(cpu, port, sizeof(T));
  NotePortAccess(cpu, port, sizeof(T));
  cpu.Set<T>(kRaxOffset, static_cast<T>(cpu.host.ReadPort(port, sizeof(T))));
  return cpu.Leave(op);
}
template <typename T>
const Op* Out(Cpu& cpu, const Op* op) {
  uint16_t port = PortOf(cpu, op);
  CheckPortPermission(cpu, port, sizeof(T));
  NotePortAccess(cpu, port, sizeof(T));
  cpu.host.WritePort(port, sizeof(T), cpu.Get<T>(kRaxOffset));
  return cpu.Leave(op);
}

uint64_t AddressMask(const Op* op) {
  return op->address_size == 8 ? ~uint64_t{0} : op->address_size == 4 ? 0xffffffff : 0xffff;
}
void Advance(Cpu& cpu, const Op* op, unsigned reg, int64_t step) {
  uint64_t value = (cpu.r[reg] & AddressMask(op)) + static_cast<uint64_t>(step);
  if (op->address_size == 2) {
    cpu.Set<uint16_t>(SlotOffset(reg), static_cast<uint16_t>(value));
  } else {
    cpu.r[reg] = value & AddressMask(op);
  }
}

template <typename T, bool kIn>
const Op* String(Cpu& cpu, const Op* op) {
  auto port = static_cast<uint16_t>(cpu.r[x86::kRdx]);
  bool repeated = op->flags & (kOpRep | kOpRepne);
  if (repeated && (cpu.r[x86::kRcx] & AddressMask(op)) == 0) return cpu.Leave(op);
  CheckPortPermission(cpu, port, sizeof(T));
  NotePortAccess(cpu, port, sizeof(T));
  int64_t step = cpu.rflags_rest & x86::rflags::kDf ? -static_cast<int64_t>(sizeof(T)) : sizeof(T);
  unsigned index = kIn ? x86::kRdi : x86::kRsi;
  auto segment = kIn ? x86::kEs : static_cast<x86::SegmentName>(op->segment);
  uint64_t offset = cpu.r[index] & AddressMask(op);
  if constexpr (kIn) {
    uint64_t linear = cpu.SegmentAddress(segment, offset, Access::kWrite, sizeof(T));
    cpu.ProbeWrite(linear, sizeof(T));
    cpu.Store<T>(linear, static_cast<T>(cpu.host.ReadPort(port, sizeof(T))));
  } else {
    uint64_t linear = cpu.SegmentAddress(segment, offset, Access::kRead, sizeof(T));
    cpu.host.WritePort(port, sizeof(T), cpu.Load<T>(linear));
  }
  Advance(cpu, op, index, step);
  if (repeated) {
    Advance(cpu, op, x86::kRcx, -1);
    if ((cpu.r[x86::kRcx] & AddressMask(op)) != 0) {
      // Once more from the dispatcher, which lets interrupts in.
      cpu.rip = cpu.RipOf(op) & cpu.RipMask();
      return cpu.Dispatch();
    }
  }
  return cpu.Leave(op);
}

template <bool kIn>
bool BindPort(const Instruction& in, Op& op) {
  static const char kPortInDx = 0;
  unsigned data = kIn ? 0 : 1, port = 1 - data;
  if (in.IsRegister(port)) op.aux = &kPortInDx;
  switch (in.Size(data)) {
    case 1:
      op.run = kIn ? In<uint8_t> : Out<uint8_t>;
      break;
    case 2:
      op.run = kIn ? In<uint16_t> : Out<uint16_t>;
      break;
    default:
      op.run = kIn ? In<uint32_t> : Out<uint32_t>;
  }
  return !(op.flags & kOpLock);
}
template <typename T, bool kIn>
bool BindString(const Instruction&, Op& op) {
  op.run = String<T, kIn>;
  return !(op.flags & kOpLock);
}

}  // namespace

std::span<const Binding> PortBindings() {
  static constexpr Binding kBindings[] = {
      {ZYDIS_MNEMONIC_IN, BindPort<true>, kEndsBlock},
      {ZYDIS_MNEMONIC_OUT, BindPort<false>, kEndsBlock},
      {ZYDIS_MNEMONIC_INSB, BindString<uint8_t, true>, kEndsBlock},
      {ZYDIS_MNEMONIC_INSW, BindString<uint16_t, true>, kEndsBlock},
      {ZYDIS_MNEMONIC_INSD, BindString<uint32_t, true>, kEndsBlock},
      {ZYDIS_MNEMONIC_OUTSB, BindString<uint8_t, false>, kEndsBlock},
      {ZYDIS_MNEMONIC_OUTSW, BindString<uint16_t, false>, kEndsBlock},
      {ZYDIS_MNEMONIC_OUTSD, BindString<uint32_t, false>, kEndsBlock},
  };
  return kBindings;
}

}  // namespace trapline::engine::soft

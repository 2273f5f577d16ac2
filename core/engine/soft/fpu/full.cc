// SPDX-License-Identifier: Apache-2.0
// x87 and MMX, by the host with the whole state loaded (host_code.h).
//
// The guest's own control word is in force while its instruction runs, so an unmasked exception
// only leaves ES set in the status word; the next waiting instruction finds that here, before the
// host could.
#include <array>

#include "core/engine/soft/fpu/bind.h"
#include "core/engine/soft/fpu/encoding.h"
#include "core/engine/soft/fpu/host_code.h"

namespace trapline::engine::soft {
namespace {

constexpr size_t kLargestOperand = 128;  // FNSAVE's 108 bytes

// What an Op needs beyond its common fields, packed into imm.
enum Trait : uint64_t {
  kReads = 1,
  kWrites = 2,
  kWaits = 4,
  kMmx = 8,
  kSse = 16,
  kControl = 32,
  kSetsFlags = 64,
  kToGeneral = 128,
  kFromGeneral = 256,
  kWide = 512,  // the general register is of 64 bits
  kTakesFlags = 1024,
};
constexpr unsigned kOpcodeShift = 16;  // the x87 opcode above the traits

// An unmasked exception keeps a result from memory, but for a loss of precision (SDM volume 1,
// section 8.5).
bool StoreWithheld(const FpuState& fpu) {
  constexpr uint16_t kExceptions = 0x1f;
  return (fpu.status & ~fpu.control & kExceptions) != 0;
}

// On a copy of the state: an exception leaves everything as it was.
HostResult ExecuteSse(Cpu& cpu, FullCode code, void* memory) {
  FpuState state = cpu.fpu;
  state.mxcsr = QuietMxcsr(cpu);
  HostResult result = code(&state, memory, cpu.r[x86::kRax], 0);
  // But for the transition to MMX, which comes first.
  cpu.fpu.EnterMmx();
  AccountSse(cpu, state.mxcsr);
  state.mxcsr = cpu.fpu.mxcsr;
  cpu.fpu = state;
  return result;
}

const Op* Run(Cpu& cpu, const Op* op) {
  uint64_t traits = op->imm;
  if (traits & kSse) {
    CheckSse(cpu);
  } else if (traits & kMmx) {
    CheckMmx(cpu);
  } else {
    CheckX87(cpu);
  }
  if (traits & kWaits) CheckPending(cpu);

  alignas(16) std::array<std::byte, kLargestOperand> buffer{};
  uint64_t linear = 0;
  if (op->flags & kOpMemory) {
    unsigned size = op->operand_size;
    if (traits & kWrites) {
      linear = cpu.AddressForWrite(op, size);
      cpu.ProbeWrite(linear, size);
    } else {
      linear = cpu.Address(op, size);
    }
    if ((traits & kSse) && size == 16) RequireAligned(linear);
    if (traits & kReads) cpu.ReadLinear(linear, buffer.data(), size);
  } else if (traits & kFromGeneral) {
    uint64_t value = cpu.Get<uint64_t>(op->rm);
    std::memcpy(buffer.data(), &value, sizeof value);
  }

  auto code = reinterpret_cast<FullCode>(reinterpret_cast<uintptr_t>(op->aux));
  uint64_t rip = cpu.fpu.instruction_pointer, data = cpu.fpu.data_pointer;
  uint16_t opcode = cpu.fpu.opcode;
  uint64_t flags = traits & kTakesFlags ? cpu.lazy.Materialize() : 0;
  HostResult result = traits & kSse ? ExecuteSse(cpu, code, buffer.data())
                                    : code(&cpu.fpu, buffer.data(), cpu.r[x86::kRax], flags);
  // The host's own addresses are none of the guest's business.
  bool notes = !(traits & (kControl | kMmx | kSse));
  cpu.fpu.instruction_pointer = notes ? cpu.RipOf(op) : rip;
  cpu.fpu.data_pointer = notes && (op->flags & kOpMemory) ? linear : data;
  cpu.fpu.opcode = notes ? static_cast<uint16_t>(op->imm >> kOpcodeShift) : opcode;

  if (traits & kSetsFlags) cpu.lazy.SetKnown(result.flags);
  if (traits & kToGeneral) {
    cpu.Set<uint64_t>(op->reg, traits & kWide ? result.rax : static_cast<uint32_t>(result.rax));
  }
  if ((op->flags & kOpMemory) && (traits & kWrites)) {
    if (notes && StoreWithheld(cpu.fpu)) return cpu.Next(op);
    cpu.WriteLinear(linear, buffer.data(), op->operand_size);
    return cpu.Next(op);
  }
  return op + 1;
}

bool WaitsNot(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FNINIT:
    case ZYDIS_MNEMONIC_FNCLEX:
    case ZYDIS_MNEMONIC_FNSTSW:
    case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
    case ZYDIS_MNEMONIC_FSETPM287_NOP:
      return true;
    default:
      return false;
  }
}
// MOVD and MOVQ from an MMX register to a general one.
const Op* MmxToGeneral(Cpu& cpu, const Op* op) {
  CheckMmx(cpu);
  CheckPending(cpu);
  cpu.fpu.EnterMmx();
  uint64_t value = cpu.fpu.st[op->reg].mantissa;
  cpu.Set<uint64_t>(op->rm, op->imm ? value : static_cast<uint32_t>(value));
  return op + 1;
}
bool BindMmxToGeneral(const Instruction& in, Op& op) {
  op.imm = in.Size(0) == 8;
  op.reg = in.info.raw.modrm.reg;
  op.run = MmxToGeneral;
  return true;
}

bool ComputesOnVectors(const Instruction& in) {
  switch (in.mnemonic()) {
    case ZYDIS_MNEMONIC_CVTPI2PD:
    case ZYDIS_MNEMONIC_CVTPI2PS:
    case ZYDIS_MNEMONIC_CVTPD2PI:
    case ZYDIS_MNEMONIC_CVTPS2PI:
    case ZYDIS_MNEMONIC_CVTTPD2PI:
    case ZYDIS_MNEMONIC_CVTTPS2PI:
    case ZYDIS_MNEMONIC_MOVDQ2Q:
    case ZYDIS_MNEMONIC_MOVQ2DQ:
      return true;
    default:
      return false;
  }
}

bool IsControl(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FLDCW:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FRSTOR:
      return true;
    default:
      return WaitsNot(mnemonic);
  }
}

}  // namespace

bool BindFull(const Instruction& in, Op& op) {
  auto set = in.info.meta.isa_set;
  bool x87 = in.info.meta.isa_ext == ZYDIS_ISA_EXT_X87;
  uint64_t traits = 0;
  if (set == ZYDIS_ISA_SET_PENTIUMMMX) traits |= kMmx;
  // SSE's own MMX instructions need no OSFXSR unless floating-point numbers or an XMM register take
  // part.
  if (!x87 && !(traits & kMmx)) traits |= ComputesOnVectors(in) ? kSse : kMmx;
  if (!x87 || !WaitsNot(in.mnemonic())) traits |= kWaits;
  if (x87 && IsControl(in.mnemonic())) traits |= kControl;
  switch (in.mnemonic()) {
    case ZYDIS_MNEMONIC_FCOMI:
    case ZYDIS_MNEMONIC_FCOMIP:
    case ZYDIS_MNEMONIC_FUCOMI:
    case ZYDIS_MNEMONIC_FUCOMIP:
      traits |= kSetsFlags;
      break;
    default:
      break;
  }

  Reencoding form{.reg = in.info.raw.modrm.reg, .rm = in.info.raw.modrm.rm, .memory = false};
  if (!x87) {
    form.reg = static_cast<uint8_t>(form.reg | (in.info.raw.rex.R ? 8 : 0));
    form.rm = static_cast<uint8_t>(form.rm | (in.info.raw.rex.B ? 8 : 0));
  }
  for (unsigned i = 0; i < in.operands.size(); ++i) {
    const ZydisDecodedOperand& operand = in.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
      if (operand.size / 8 > kLargestOperand) return false;
      op.operand_size = static_cast<uint8_t>(operand.size / 8);
      form.memory = true;
      if (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) traits |= kReads;
      if (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) traits |= kWrites;
    }
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || x87) continue;
    ZydisRegisterClass register_class = ZydisRegisterGetClass(operand.reg.value);
    bool general = register_class == ZYDIS_REGCLASS_GPR32 || register_class == ZYDIS_REGCLASS_GPR64;
    if (!general) continue;
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG) {
      traits |= kToGeneral;
      form.reg = 0;
    } else if (i == 0) {  // MOVD r, mm: the destination in ModRM.rm
      return BindMmxToGeneral(in, op);
    } else {
      traits |= kFromGeneral;
      form.memory = true;
    }
  }
  if (set == ZYDIS_ISA_SET_FCMOV) traits |= kTakesFlags;
  if (traits & kToGeneral && in.IsRegister(0) &&
      ZydisRegisterGetClass(in.operands[0].reg.value) == ZYDIS_REGCLASS_GPR64) {
    traits |= kWide;
  }
  op.aux =
      reinterpret_cast<const void*>(FullCodeFor(Reencode(in.info, form), traits & kTakesFlags));
  op.imm = traits | static_cast<uint64_t>((in.info.opcode & 7) << 8 | in.info.raw.modrm.mod << 6 |
                                          in.info.raw.modrm.reg << 3 | in.info.raw.modrm.rm)
                        << kOpcodeShift;
  op.run = Run;
  return op.aux != nullptr;
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Decoded by Zydis, executed on the frame. Semantics: Intel SDM volume 2, each instruction's page.
#include "core/engine/direct/privileged.h"

#include <Zydis/Zydis.h>
#include <cpuid.h>

#include <array>
#include <optional>

#include "core/x86/flags.h"

namespace trapline::engine::direct {
namespace {

constexpr uint64_t kLow32 = 0xffffffff;

struct Decoded {
  ZydisDecodedInstruction instruction;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
};

std::optional<Decoded> Decode(std::span<const std::byte> code) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  Decoded decoded;
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &decoded.instruction,
                                           decoded.operands.data())))
    return std::nullopt;
  return decoded;
}

uint64_t& Rax(VirtualCpu& cpu) { return cpu.frame.gpr[x86::kRax]; }
uint64_t& Rdx(VirtualCpu& cpu) { return cpu.frame.gpr[x86::kRdx]; }
uint32_t Ecx(const VirtualCpu& cpu) { return static_cast<uint32_t>(cpu.frame.gpr[x86::kRcx]); }

uint16_t PortOf(const ZydisDecodedOperand& operand, VirtualCpu& cpu) {
  return operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? static_cast<uint16_t>(operand.imm.value.u)
                                                      : static_cast<uint16_t>(Rdx(cpu));
}

void In(const Decoded& decoded, VirtualCpu& cpu) {
  unsigned size = decoded.operands[0].size / 8;
  uint64_t value = cpu.host.ReadPort(PortOf(decoded.operands[1], cpu), size);
  // A write of 32 bits clears the upper half, shorter ones leave the rest alone.
  uint64_t mask = size == 4 ? ~uint64_t{0} : (uint64_t{1} << 8 * size) - 1;
  Rax(cpu) = (Rax(cpu) & ~mask) | (value & mask);
}

void Out(const Decoded& decoded, VirtualCpu& cpu) {
  unsigned size = decoded.operands[1].size / 8;
  auto value = static_cast<uint32_t>(Rax(cpu) & (kLow32 >> (32 - 8 * size)));
  cpu.host.WritePort(PortOf(decoded.operands[0], cpu), size, value);
}

// The control register of that number, or nothing: CR8 is the host's.
uint64_t* ControlRegister(ZydisRegister name, VirtualCpu& cpu) {
  switch (name) {
    case ZYDIS_REGISTER_CR0:
      return &cpu.registers.cr0;
    case ZYDIS_REGISTER_CR2:
      return &cpu.registers.cr2;
    case ZYDIS_REGISTER_CR3:
      return &cpu.registers.cr3;
    case ZYDIS_REGISTER_CR4:
      return &cpu.registers.cr4;
    default:
      return nullptr;
  }
}

uint64_t& GeneralRegister(ZydisRegister name, VirtualCpu& cpu) {
  return cpu.frame.gpr[ZydisRegisterGetId(name) & 15];
}

bool MoveControl(const Decoded& decoded, VirtualCpu& cpu) {
  ZydisRegister to = decoded.operands[0].reg.value, from = decoded.operands[1].reg.value;
  if (ZydisRegisterGetClass(from) == ZYDIS_REGCLASS_CONTROL) {
    uint64_t* control = ControlRegister(from, cpu);
    if (!control && from != ZYDIS_REGISTER_CR8) return false;
    GeneralRegister(to, cpu) = control ? *control : cpu.host.ReadTaskPriority();
    return true;
  }
  uint64_t value = GeneralRegister(from, cpu);
  if (to == ZYDIS_REGISTER_CR8) {
    if (value > 15) return false;
    cpu.host.WriteTaskPriority(static_cast<uint8_t>(value));
    return true;
  }
  // The mode and the address space are what they are: a write that changes nothing is taken.
  uint64_t* control = ControlRegister(to, cpu);
  if (to == ZYDIS_REGISTER_CR2) *control = value;
  return control && *control == value;
}

// Those that are not the host's to answer for.
uint64_t* OwnMsr(uint32_t index, VirtualCpu& cpu) {
  switch (index) {
    case 0xc0000080:
      return &cpu.registers.efer;
    case 0xc0000100:
      return &cpu.registers.segment[x86::kFs].base;
    case 0xc0000101:
      return &cpu.registers.segment[x86::kGs].base;
    case 0xc0000102:
      return &cpu.registers.kernel_gs_base;
    case 0xc0000103:
      return &cpu.registers.tsc_aux;
    default:
      return nullptr;
  }
}

bool ReadMsr(VirtualCpu& cpu) {
  constexpr uint32_t kTsc = 0x10;
  uint64_t value = 0;
  if (const uint64_t* own = OwnMsr(Ecx(cpu), cpu)) {
    value = *own;
  } else if (Ecx(cpu) == kTsc) {
    value = cpu.host.Tsc() + cpu.host.TscOffset();  // what RDTSC says
  } else if (!cpu.host.ReadMsr(Ecx(cpu), &value)) {
    return false;
  }
  Rax(cpu) = value & kLow32;
  Rdx(cpu) = value >> 32;
  return true;
}

bool Canonical(uint64_t address) {
  return static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16) == address;
}

bool WriteMsr(VirtualCpu& cpu) {
  uint64_t value = (Rdx(cpu) & kLow32) << 32 | (Rax(cpu) & kLow32);
  uint64_t* own = OwnMsr(Ecx(cpu), cpu);
  if (!own) return cpu.host.WriteMsr(Ecx(cpu), value);
  if (own == &cpu.registers.efer) return value == *own;
  bool allowed = own == &cpu.registers.tsc_aux ? value <= kLow32 : Canonical(value);
  if (!allowed) return false;
  *own = value;
  cpu.bases_changed = true;
  return true;
}

// The host's own leaves, since its instructions are what the guest executes, with what belongs to
// the VM replaced.
void Cpuid(VirtualCpu& cpu) {
  constexpr uint32_t kHypervisorFirst = 0x40000000, kHypervisorLast = 0x4fffffff;
  constexpr uint32_t kVmx = 1u << 5, kHypervisor = 1u << 31;
  auto leaf = static_cast<uint32_t>(Rax(cpu));
  CpuidLeaf values;
  if (leaf >= kHypervisorFirst && leaf <= kHypervisorLast) {
    values = cpu.host.HypervisorCpuid(leaf).value_or(CpuidLeaf{});
  } else {
    __cpuid_count(leaf, Ecx(cpu), values.eax, values.ebx, values.ecx, values.edx);
  }
  if (leaf == 1) {
    values.ebx = (values.ebx & 0xffff) | cpu.vcpu_count << 16 | cpu.apic_id << 24;
    values.ecx = (values.ecx | kHypervisor) & ~kVmx;
  }
  if (leaf == 0xb || leaf == 0x1f) values.edx = cpu.apic_id;
  Rax(cpu) = values.eax;
  cpu.frame.gpr[x86::kRbx] = values.ebx;
  cpu.frame.gpr[x86::kRcx] = values.ecx;
  Rdx(cpu) = values.edx;
}

// True if it was executed.
bool Execute(const Decoded& decoded, VirtualCpu& cpu) {
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
      cpu.registers.rflags &= ~x86::rflags::kIf;
      return true;
    case ZYDIS_MNEMONIC_STI:
      cpu.registers.rflags |= x86::rflags::kIf;
      return true;
    case ZYDIS_MNEMONIC_HLT:
      return true;
    case ZYDIS_MNEMONIC_IN:
      In(decoded, cpu);
      return true;
    case ZYDIS_MNEMONIC_OUT:
      Out(decoded, cpu);
      return true;
    case ZYDIS_MNEMONIC_MOV:
      return MoveControl(decoded, cpu);
    case ZYDIS_MNEMONIC_RDMSR:
      return ReadMsr(cpu);
    case ZYDIS_MNEMONIC_WRMSR:
      return WriteMsr(cpu);
    case ZYDIS_MNEMONIC_CPUID:
      Cpuid(cpu);
      return true;
    default:
      return false;
  }
}

bool MovesControlRegister(const Decoded& decoded) {
  for (int i : {0, 1}) {
    if (decoded.operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
        ZydisRegisterGetClass(decoded.operands[i].reg.value) == ZYDIS_REGCLASS_CONTROL)
      return true;
  }
  return false;
}

}  // namespace

Emulation EmulatePrivileged(std::span<const std::byte> code, VirtualCpu& cpu) {
  std::optional<Decoded> decoded = Decode(code);
  if (!decoded) return Emulation::kNotEmulated;
  bool move = decoded->instruction.mnemonic == ZYDIS_MNEMONIC_MOV;
  if ((move && !MovesControlRegister(*decoded)) || !Execute(*decoded, cpu))
    return Emulation::kNotEmulated;
  cpu.frame.rip += decoded->instruction.length;
  return decoded->instruction.mnemonic == ZYDIS_MNEMONIC_HLT ? Emulation::kHalt : Emulation::kDone;
}

}  // namespace trapline::engine::direct

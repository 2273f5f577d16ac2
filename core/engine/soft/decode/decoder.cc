// SPDX-License-Identifier: Apache-2.0
// Zydis' view of an instruction turned into an Op, and the table that finds each mnemonic's binder.
#include "core/engine/soft/decode/decoder.h"

#include <array>
#include <memory>

#include "core/engine/soft/decode/forms.h"
#include "core/engine/soft/fault.h"
#include "core/x86/registers.h"

namespace trapline::engine::soft {
namespace {

const Op* RaiseInvalidOpcode(Cpu&, const Op*) { RaiseUd(); }
const Op* RaiseTooLong(Cpu&, const Op*) { RaiseGp(); }

// A Zydis decoder that reads the opcodes of features we do not advertise as an older CPU does: the
// CET, MPX and CLDEMOTE encodings are NOPs there, LZCNT and TZCNT are BSR and BSF with a prefix
// that means nothing.
ZydisDecoder MakeDecoder(ZydisMachineMode mode, ZydisStackWidth stack) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, mode, stack);
  for (ZydisDecoderMode feature :
       {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_LZCNT,
        ZYDIS_DECODER_MODE_TZCNT, ZYDIS_DECODER_MODE_CLDEMOTE}) {
    ZydisDecoderEnableMode(&decoder, feature, ZYAN_FALSE);
  }
  return decoder;
}

const ZydisDecoder& DecoderFor(uint8_t code_size) {
  static const ZydisDecoder k16 = MakeDecoder(ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
  static const ZydisDecoder k32 = MakeDecoder(ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
  static const ZydisDecoder k64 = MakeDecoder(ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  return code_size == 2 ? k16 : code_size == 4 ? k32 : k64;
}

using BindingTable = std::array<Binding, ZYDIS_MNEMONIC_MAX_VALUE + 1>;

// In the order in which they are asked.
using BindingTables = std::array<BindingTable, 3>;

const BindingTables& Bindings() {
  static const std::unique_ptr<const BindingTables> tables = [] {
    auto all = std::make_unique<BindingTables>();
    auto& [integer, system, fpu] = *all;
    for (auto group :
         {MoveBindings(), StackBindings(), ArithmeticBindings(), MultiplyBindings(),
          DecimalBindings(), LogicBindings(), ShiftBindings(), BitBindings(), ConditionBindings(),
          BranchBindings(), StringBindings(), ExchangeBindings(), FlagBindings(), HintBindings()}) {
      for (const Binding& binding : group) integer[binding.mnemonic] = binding;
    }
    for (const Binding& binding : SystemBindings()) system[binding.mnemonic] = binding;
    for (const Binding& binding : FpuBindings()) fpu[binding.mnemonic] = binding;
    return all;
  }();
  return *tables;
}

// The binding that took the instruction, or null.
const Binding* Bind(const Instruction& instruction, Op* op) {
  if (instruction.info.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return nullptr;
  for (const BindingTable& table : Bindings()) {
    const Binding& binding = table[instruction.mnemonic()];
    if (binding.bind != nullptr && binding.bind(instruction, *op)) return &binding;
  }
  return nullptr;
}

// Byte offset into Cpu::r for a general register, the number within its class for any other.
uint8_t OperandOf(ZydisRegister reg) {
  return IsGpr(reg) ? GprOffset(reg) : static_cast<uint8_t>(ZydisRegisterGetId(reg));
}

void FillRegister(const ZydisDecodedOperand& operand, Op* op) {
  uint8_t value = OperandOf(operand.reg.value);
  switch (operand.encoding) {
    case ZYDIS_OPERAND_ENCODING_MODRM_REG:
      op->reg = value;
      break;
    case ZYDIS_OPERAND_ENCODING_MODRM_RM:
    case ZYDIS_OPERAND_ENCODING_OPCODE:
      op->rm = value;
      break;
    default:
      break;  // implied by the opcode: its binder knows
  }
}

// A SIB byte with base 5 and mod 0 has a displacement and no base register, whatever REX.B says;
// Zydis 4.0 reports R13D for it and no displacement where the address size is 32 bits.
bool HasNoBase(const ZydisDecodedInstruction& info) {
  return info.raw.modrm.mod == 0 && info.raw.modrm.rm == 4 && info.raw.sib.base == 5 &&
         (info.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0;
}

void FillMemory(const DecodeContext& context, const Instruction& instruction,
                const ZydisDecodedOperand& operand, Op* op) {
  const auto& memory = operand.mem;
  bool relative = memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_EIP;
  bool based = memory.base != ZYDIS_REGISTER_NONE && !relative && !HasNoBase(instruction.info);
  if (based) op->base = OperandOf(memory.base);
  if (memory.index != ZYDIS_REGISTER_NONE) {
    op->index = OperandOf(memory.index);
    op->scale = memory.scale <= 1 ? 0 : static_cast<uint8_t>(__builtin_ctz(memory.scale));
  }
  op->disp = HasNoBase(instruction.info) ? instruction.info.raw.disp.value : memory.disp.value;
  if (relative) op->disp += static_cast<int64_t>(instruction.rip + instruction.info.length);
  if (memory.segment >= ZYDIS_REGISTER_ES && memory.segment <= ZYDIS_REGISTER_GS) {
    op->segment = static_cast<uint8_t>(memory.segment - ZYDIS_REGISTER_ES);
  }
  op->checked_segment = context.code_size != 8 || op->address_size != 8;
  if (context.code_size == 8) {
    if (op->segment == x86::kFs) op->segment_base = SlotOffset(kSlotFsBase);
    if (op->segment == x86::kGs) op->segment_base = SlotOffset(kSlotGsBase);
  }
}

void FillImmediate(const Instruction& instruction, const ZydisDecodedOperand& operand,
                   unsigned index, Op* op) {
  uint64_t value = operand.imm.value.u;
  if (operand.imm.is_relative) {
    value += instruction.rip + instruction.info.length;
    if (instruction.info.operand_width == 16) value &= 0xffff;
    if (instruction.info.operand_width == 32) value &= 0xffffffff;
  }
  if (index > 0 && instruction.mnemonic() == ZYDIS_MNEMONIC_ENTER) {
    value = op->imm | value << 16;
  }
  op->imm = value;
}

void FillOperands(const DecodeContext& context, const Instruction& instruction, Op* op) {
  bool memory_seen = false;
  for (const ZydisDecodedOperand& operand : instruction.all) {
    bool visible = operand.visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN;
    switch (operand.type) {
      case ZYDIS_OPERAND_TYPE_REGISTER:
        if (visible) FillRegister(operand, op);
        break;
      case ZYDIS_OPERAND_TYPE_MEMORY:
        // A hidden one serves only the instructions that have no other (XLAT, MASKMOVDQU).
        if (memory_seen) break;
        memory_seen = true;
        FillMemory(context, instruction, operand, op);
        if (visible) op->flags |= kOpMemory;
        break;
      case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        if (visible) FillImmediate(instruction, operand, operand.id, op);
        break;
      case ZYDIS_OPERAND_TYPE_POINTER:
        op->imm = operand.ptr.offset;
        op->disp = operand.ptr.segment;
        memory_seen = true;  // the stack, where CALL pushes to: it would overwrite disp
        break;
      default:
        break;
    }
  }
}

uint8_t PrefixFlags(const ZydisDecodedInstruction& info) {
  uint8_t flags = (info.attributes & ZYDIS_ATTRIB_HAS_LOCK) ? kOpLock : 0;
  for (unsigned i = info.raw.prefix_count; i-- > 0;) {
    uint8_t value = info.raw.prefixes[i].value;
    if (value == 0xf3) return flags | kOpRep;
    if (value == 0xf2) return flags | kOpRepne;
  }
  return flags;
}

// Loading a segment, control or debug register may change what the next instruction means.
bool WritesSystemRegister(const Instruction& instruction) {
  return (instruction.mnemonic() == ZYDIS_MNEMONIC_MOV ||
          instruction.mnemonic() == ZYDIS_MNEMONIC_POP) &&
         instruction.IsRegister(0) && !IsGpr(instruction.operands[0].reg.value);
}

DecodeResult Undecodable(ZyanStatus status, std::span<const uint8_t> bytes, Op* op) {
  bool too_long = status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG ||
                  (status == ZYDIS_STATUS_NO_MORE_DATA && bytes.size() >= kMaxInstructionLength);
  if (status == ZYDIS_STATUS_NO_MORE_DATA && !too_long) {
    return {DecodeStatus::kTooShort, true};
  }
  op->run = too_long ? RaiseTooLong : RaiseInvalidOpcode;
  op->length = 1;
  return {DecodeStatus::kDone, true};
}

}  // namespace

DecodeResult Decode(const DecodeContext& context, uint64_t rip, std::span<const uint8_t> bytes,
                    Op* op) {
  *op = Op{};
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  ZyanStatus status = ZydisDecoderDecodeFull(&DecoderFor(context.code_size), bytes.data(),
                                             bytes.size(), &info, operands);
  if (!ZYAN_SUCCESS(status)) return Undecodable(status, bytes, op);

  Instruction instruction{
      info, {operands, info.operand_count_visible}, {operands, info.operand_count}, context, rip};
  op->length = info.length;
  op->mnemonic = static_cast<uint16_t>(info.mnemonic);
  op->operand_size = static_cast<uint8_t>(info.operand_width / 8);
  op->address_size = static_cast<uint8_t>(info.address_width / 8);
  op->flags = PrefixFlags(info);
  FillOperands(context, instruction, op);

  const Binding* binding = Bind(instruction, op);
  if (binding == nullptr) {
    op->run = RaiseInvalidOpcode;
    return {DecodeStatus::kDone, true};
  }
  return {DecodeStatus::kDone, (binding->flags & kEndsBlock) || WritesSystemRegister(instruction)};
}

}  // namespace trapline::engine::soft

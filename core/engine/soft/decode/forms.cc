// SPDX-License-Identifier: Apache-2.0
// Register numbering and operand forms.
#include "core/engine/soft/decode/forms.h"

namespace trapline::engine::soft {
namespace {

char Letter(const ZydisDecodedOperand& operand) {
  switch (operand.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
      return IsGpr(operand.reg.value) ? 'R' : '?';
    case ZYDIS_OPERAND_TYPE_MEMORY:
      return 'M';
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
      return 'I';
    default:
      return '?';
  }
}

Form FormOfTwo(char first, char second) {
  if (first == 'R') {
    return second == 'R'   ? Form::kRR
           : second == 'M' ? Form::kRM
           : second == 'I' ? Form::kRI
                           : Form::kOther;
  }
  if (first == 'M') return second == 'R' ? Form::kMR : second == 'I' ? Form::kMI : Form::kOther;
  return Form::kOther;
}

}  // namespace

bool IsGpr(ZydisRegister reg) {
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
      return true;
    default:
      return false;
  }
}

uint8_t GprOffset(ZydisRegister reg) {
  if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
    return static_cast<uint8_t>(SlotOffset(reg - ZYDIS_REGISTER_AH) + 1);
  }
  if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B) {
    return SlotOffset(4 + reg - ZYDIS_REGISTER_SPL);
  }
  return SlotOffset(ZydisRegisterGetId(reg));
}

Form Arrange(const Instruction& instruction, Op& op) {
  const auto& operands = instruction.operands;
  if (operands.empty()) return Form::kNone;
  char first = Letter(operands[0]);
  if (first == 'R') op.reg = GprOffset(operands[0].reg.value);
  if (operands.size() == 1) {
    return first == 'R'   ? Form::kR
           : first == 'M' ? Form::kM
           : first == 'I' ? Form::kI
                          : Form::kOther;
  }
  char second = Letter(operands[1]);
  if (second == 'R') (first == 'R' ? op.rm : op.reg) = GprOffset(operands[1].reg.value);
  return FormOfTwo(first, second);
}

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Makes instances of a shape: picks registers, addressing and immediates, and a machine state in
// which the instruction's addresses lead where the test wants them.
#pragma once

#include "tests/differential/inputs.h"
#include "tests/differential/shapes.h"

namespace trapline::differential {

class Generator {
 public:
  Generator(Mode mode, uint64_t seed, uint64_t fs_base)
      : mode_(mode), fs_base_(fs_base), inputs_(seed) {}

  // An instance of shape for a slot of the code. across: it stands where it reaches into the page
  // behind the code, unless it has one byte only. False where no attempt led to one.
  bool Make(const Shape& shape, size_t slot, bool across, Instance* instance);
  Inputs& inputs() { return inputs_; }

 private:
  struct Draft {
    Instance* instance;
    ZydisDecodedInstruction info;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    uint16_t patched = 0;  // bytes of patch_bytes in use
    size_t patches = 0;
    uint64_t& gpr(unsigned number) { return instance->in.gpr[number]; }
  };

  bool Encode(const Shape& shape, Draft& draft);
  bool Place(Draft& draft);
  // The explicit memory operand.
  bool AimOperand(Draft& draft, const ZydisDecodedOperand& operand);
  bool AimAt(Draft& draft, const ZydisDecodedOperand& operand, uint64_t target);
  bool SetDisplacement(Draft& draft, int64_t value);
  uint64_t Target(unsigned size, bool writes);
  uint64_t BitTarget(Draft& draft, const ZydisDecodedOperand& operand);
  void FillOperand(Draft& draft, const ZydisDecodedOperand& operand, uint64_t target);
  bool AimNarrow(Draft& draft, const ZydisDecodedOperand& operand);
  // Registers and memory that the instruction uses without naming them: before the memory operand
  // is aimed, and after.
  bool ImplyRegisters(Draft& draft);
  bool ImplyMemory(Draft& draft);
  bool ImplyString(Draft& draft);
  void ImplyEqual(Draft& draft);
  void ImplyQuotient(Draft& draft);
  bool ImplyBranch(Draft& draft);
  bool ImplySelector(Draft& draft);
  void ImplyFloatState(Draft& draft);
  std::span<std::byte> AddPatch(Draft& draft, uint64_t address, size_t size);
  uint64_t CodeTarget(uint64_t rip, unsigned length);
  uint64_t SegmentBase(ZydisRegister segment) const;
  void SetGpr(Draft& draft, ZydisRegister reg, uint64_t value);

  const Mode mode_;
  const uint64_t fs_base_;
  Inputs inputs_;
};

}  // namespace trapline::differential

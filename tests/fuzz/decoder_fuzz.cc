// SPDX-License-Identifier: Apache-2.0
// Decodes arbitrary bytes in all modes and checks what every Op promises.
#include <cstdlib>

#include "core/engine/soft/decode/decoder.h"
#include "core/x86/registers.h"

namespace {

using namespace trapline::engine::soft;

void Check(bool holds) {
  if (!holds) std::abort();
}

void CheckOp(const Op& op, const DecodeResult& result, size_t available) {
  if (result.status == DecodeStatus::kTooShort) {
    Check(available < kMaxInstructionLength);
    return;
  }
  Check(op.run != nullptr);
  Check(op.length >= 1 && op.length <= kMaxInstructionLength && op.length <= available);
  for (uint8_t slot : {op.base, op.index, op.segment_base}) {
    Check(slot % 8 == 0 && slot < kSlotCount * 8);
  }
  Check(op.scale <= 3);
  Check(op.segment < trapline::x86::kSegmentCount);
  Check(op.address_size == 2 || op.address_size == 4 || op.address_size == 8);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (uint8_t code_size : {2, 4, 8}) {
    const DecodeContext context{code_size};
    size_t at = 0;
    Op previous;
    bool open = false;
    while (at < size) {
      size_t available = size - at < kMaxInstructionLength ? size - at : kMaxInstructionLength;
      Op op;
      DecodeResult result = Decode(context, at, {data + at, available}, &op);
      CheckOp(op, result, available);
      if (result.status == DecodeStatus::kTooShort) break;
      if (open) Fuse(context, &previous, op);
      previous = op;
      open = !result.ends_block;
      at += op.length;
    }
  }
  return 0;
}

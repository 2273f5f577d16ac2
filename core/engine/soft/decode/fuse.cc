// SPDX-License-Identifier: Apache-2.0
// Pairs of instructions as one Op: interp/fused.h tells how.
#include "core/engine/soft/decode/decoder.h"
#include "core/engine/soft/interp/fused.h"

namespace trapline::engine::soft {
namespace {

bool IsConditionalJump(const Op& op) {
  switch (op.mnemonic) {
    case ZYDIS_MNEMONIC_JO:
    case ZYDIS_MNEMONIC_JNO:
    case ZYDIS_MNEMONIC_JB:
    case ZYDIS_MNEMONIC_JNB:
    case ZYDIS_MNEMONIC_JZ:
    case ZYDIS_MNEMONIC_JNZ:
    case ZYDIS_MNEMONIC_JBE:
    case ZYDIS_MNEMONIC_JNBE:
    case ZYDIS_MNEMONIC_JS:
    case ZYDIS_MNEMONIC_JNS:
    case ZYDIS_MNEMONIC_JP:
    case ZYDIS_MNEMONIC_JNP:
    case ZYDIS_MNEMONIC_JL:
    case ZYDIS_MNEMONIC_JNL:
    case ZYDIS_MNEMONIC_JLE:
    case ZYDIS_MNEMONIC_JNLE:
      return true;
    default:
      return false;
  }
}

// Those whose binders leave a FusedHandlers in Op::aux.
bool MayLead(const Op& op) {
  switch (op.mnemonic) {
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
      return op.aux != nullptr && !(op.flags & kOpPair);
    default:
      return false;
  }
}

}  // namespace

bool Fuse(const DecodeContext& context, Op* first, const Op& second) {
  // Elsewhere a jump may leave the code segment, and raise #GP behind its first half.
  if (context.code_size != 8 || !MayLead(*first) || !IsConditionalJump(second)) return false;
  const auto* handlers = static_cast<const FusedHandlers*>(first->aux);
  first->run = handlers->by_condition[second.reg];
  if (handlers->has_immediate) {
    first->aux = reinterpret_cast<const void*>(static_cast<uintptr_t>(first->imm));
  }
  first->imm = second.imm;
  first->length = static_cast<uint8_t>(first->length + second.length);
  first->flags |= kOpPair;
  return true;
}

}  // namespace trapline::engine::soft

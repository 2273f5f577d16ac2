// SPDX-License-Identifier: Apache-2.0
// The six arithmetic flags, kept as the words they are derived from.
//
// Most flags are overwritten unread. An arithmetic handler stores the result it has at hand,
// sign-extended, and a few words that fall out of the operands; a condition, PUSHF or an exception
// derives from them what it needs (SDM volume 1, section 3.4.3.1):
//
//   CF  carry_                                ZF  result_ == 0
//   OF  bit 63 of overflow_                   SF  bit 63 of result_, flipped by bit 0 of adjust_
//   AF  bit 4 of adjust_                      PF  parity of result_'s low byte, flipped by bit 1 of
//   adjust_
//
// The two flips serve combinations that no result has (POPF can set ZF and SF at once). No case
// distinction is left for readers, so that a conditional branch costs no more than its own guess.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/x86/flags.h"

namespace trapline::engine::soft {

class LazyFlags {
 public:
  // How operands and result of an operation make its flags. kAdc and kSbb had a carry-in; kInc and
  // kDec keep CF.
  enum class Kind : uint8_t { kAdd, kAdc, kSub, kSbb, kLogic, kInc, kDec };

  // Records an operation on unsigned integers of sizeof(T) bytes; NEG is kSub with a = 0, CMP is
  // kSub.
  template <typename T>
  void Set(Kind kind, T a, T b, T result) {
    result_ = Extend(result);
    switch (kind) {
      case Kind::kAdd:
        carry_ = result < a;
        break;
      case Kind::kAdc:
        carry_ = Top(static_cast<T>((a & b) | ((a | b) & ~result)));
        break;
      case Kind::kSub:
        carry_ = a < b;
        break;
      case Kind::kSbb:
        carry_ = Top(static_cast<T>((~a & b) | ((~a | b) & result)));
        break;
      case Kind::kLogic:
        carry_ = 0;
        overflow_ = 0;
        adjust_ = 0;
        return;
      default:
        break;
    }
    bool adds = kind == Kind::kAdd || kind == Kind::kAdc || kind == Kind::kInc;
    T overflow = adds ? (a ^ result) & (b ^ result) : (a ^ b) & (a ^ result);
    overflow_ = Extend(overflow);
    adjust_ = static_cast<uint8_t>(a ^ b ^ result) & kAdjustBit;
  }
  // Records INC or DEC (kInc, kDec), which leave CF as it is.
  template <typename T>
  void SetKeepingCarry(Kind kind, T a, T result) {
    Set<T>(kind, a, 1, result);
  }
  // Records a result with carry and overflow that the handler worked out itself; AF is cleared.
  template <typename T>
  void SetResult(T result, bool carry, bool overflow) {
    result_ = Extend(result);
    carry_ = carry;
    overflow_ = uint64_t{overflow} << 63;
    adjust_ = 0;
  }
  // All six flags from bits of RFLAGS; other bits are ignored.
  void SetKnown(uint64_t flags) {
    namespace f = x86::rflags;
    bool zero = flags & f::kZf;
    bool parity = flags & f::kPf;
    result_ = zero ? 0 : 1;  // ZF implies even parity, its absence here odd
    carry_ = (flags & f::kCf) != 0;
    overflow_ = flags & f::kOf ? uint64_t{1} << 63 : 0;
    adjust_ =
        static_cast<uint8_t>((flags & f::kAf ? kAdjustBit : 0) | (flags & f::kSf ? kSignFlip : 0) |
                             (parity != zero ? kParityFlip : 0));
  }
  void SetCarry(bool carry) { carry_ = carry; }
  // CF and OF; the other four stay, as rotations want it.
  void SetCarryOverflow(bool carry, bool overflow) {
    carry_ = carry;
    overflow_ = uint64_t{overflow} << 63;
  }
  // ZF alone; the other five stay.
  void SetZero(bool zero) {
    namespace f = x86::rflags;
    SetKnown((Materialize() & ~f::kZf) | (zero ? f::kZf : 0));
  }

  bool Carry() const { return carry_; }
  bool Zero() const { return result_ == 0; }
  bool Sign() const { return (result_ >> 63) ^ (adjust_ & kSignFlip); }
  bool Parity() const {
    return !__builtin_parity(static_cast<unsigned>((result_ & 0xff) ^ (adjust_ & kParityFlip)));
  }
  bool Overflow() const { return overflow_ >> 63; }
  bool Adjust() const { return adjust_ & kAdjustBit; }
  // SF != OF: the signed "less" of a comparison.
  bool Less() const { return ((result_ ^ overflow_) >> 63) ^ (adjust_ & kSignFlip); }

  // All six as bits of RFLAGS.
  uint64_t Materialize() const {
    namespace f = x86::rflags;
    return (Carry() ? f::kCf : 0) | (Parity() ? f::kPf : 0) | (Adjust() ? f::kAf : 0) |
           (Zero() ? f::kZf : 0) | (Sign() ? f::kSf : 0) | (Overflow() ? f::kOf : 0);
  }

 private:
  static constexpr uint8_t kSignFlip = 1 << 0;
  static constexpr uint8_t kParityFlip = 1 << 1;
  static constexpr uint8_t kAdjustBit = 1 << 4;

  template <typename T>
  static uint64_t Extend(T value) {
    return static_cast<uint64_t>(static_cast<int64_t>(static_cast<std::make_signed_t<T>>(value)));
  }
  template <typename T>
  static bool Top(T value) {
    return value >> (sizeof(T) * 8 - 1);
  }

  // Initially RFLAGS as RESET leaves them: none set.
  uint64_t result_ = 1;
  uint64_t overflow_ = 0;
  bool carry_ = false;
  uint8_t adjust_ = 0;
};

}  // namespace trapline::engine::soft

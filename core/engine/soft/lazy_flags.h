// SPDX-License-Identifier: Apache-2.0
// The six arithmetic flags, kept as the operands and result of the instruction that set them last.
//
// Most flags are overwritten unread. An arithmetic handler stores what it computed with; a condition, PUSHF or an
// exception derives from that what it needs (SDM volume 1, section 3.4.3.1). All values are held sign-agnostic in the low
// `size` bytes, upper bits zero.
#pragma once

#include <cstdint>

#include "core/x86/flags.h"

namespace trapline::engine::soft {

class LazyFlags {
 public:
  enum class Kind : uint8_t {
    kKnown,  // `known_` holds all six
    kAdd,    // a + b = result
    kAdc,    // a + b + carry-in = result
    kSub,    // a - b = result (also CMP, NEG with a = 0)
    kSbb,
    kLogic,  // result only: CF = OF = 0, AF = 0
    kInc,    // CF in known_
    kDec,    // CF in known_
  };

  // Records an operation of sizeof(T) bytes.
  template <typename T>
  void Set(Kind kind, T a, T b, T result) {
    kind_ = kind;
    size_ = sizeof(T);
    a_ = a;
    b_ = b;
    result_ = result;
  }
  // INC and DEC keep CF: it is materialised first.
  template <typename T>
  void SetKeepingCarry(Kind kind, T a, T result) {
    known_ = Carry() ? x86::rflags::kCf : 0;
    Set<T>(kind, a, 1, result);
  }
  // All six flags as bits of RFLAGS.
  void SetKnown(uint64_t arithmetic) {
    kind_ = Kind::kKnown;
    known_ = arithmetic & x86::rflags::kArithmetic;
  }

  bool Carry() const {
    switch (kind_) {
      case Kind::kAdd: return result_ < a_;
      case Kind::kSub: return a_ < b_;
      case Kind::kLogic: return false;
      case Kind::kKnown:
      case Kind::kInc:
      case Kind::kDec: return (known_ & x86::rflags::kCf) != 0;
      default: return (CarryVector() >> (size_ * 8 - 1)) & 1;
    }
  }
  bool Zero() const {
    return kind_ == Kind::kKnown ? (known_ & x86::rflags::kZf) != 0 : result_ == 0;
  }
  bool Sign() const {
    return kind_ == Kind::kKnown ? (known_ & x86::rflags::kSf) != 0
                                 : (result_ >> (size_ * 8 - 1)) & 1;
  }
  bool Parity() const {
    return kind_ == Kind::kKnown ? (known_ & x86::rflags::kPf) != 0
                                 : !(__builtin_popcount(result_ & 0xff) & 1);
  }
  bool Overflow() const {
    switch (kind_) {
      case Kind::kKnown: return (known_ & x86::rflags::kOf) != 0;
      case Kind::kLogic: return false;
      case Kind::kAdd:
      case Kind::kAdc:
      case Kind::kInc: return (((a_ ^ result_) & (b_ ^ result_)) >> (size_ * 8 - 1)) & 1;
      default: return (((a_ ^ b_) & (a_ ^ result_)) >> (size_ * 8 - 1)) & 1;
    }
  }
  bool Adjust() const {
    switch (kind_) {
      case Kind::kKnown: return (known_ & x86::rflags::kAf) != 0;
      case Kind::kLogic: return false;
      default: return ((a_ ^ b_ ^ result_) >> 4) & 1;
    }
  }

  // All six as bits of RFLAGS.
  uint64_t Materialize() const {
    namespace f = x86::rflags;
    if (kind_ == Kind::kKnown) return known_;
    return (Carry() ? f::kCf : 0) | (Parity() ? f::kPf : 0) | (Adjust() ? f::kAf : 0) |
           (Zero() ? f::kZf : 0) | (Sign() ? f::kSf : 0) | (Overflow() ? f::kOf : 0);
  }

 private:
  // Bit i is the carry (borrow) out of bit i.
  uint64_t CarryVector() const {
    return kind_ == Kind::kAdc ? (a_ & b_) | ((a_ | b_) & ~result_)
                               : (~a_ & b_) | ((~a_ | b_) & result_);
  }

  Kind kind_ = Kind::kKnown;
  uint8_t size_ = 8;
  uint64_t known_ = 0;
  uint64_t a_ = 0, b_ = 0, result_ = 0;
};

}  // namespace trapline::engine::soft

// SPDX-License-Identifier: Apache-2.0
// Values that instructions are likely to get wrong, mixed with random ones. Deterministic by seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>

#include "tests/differential/instance.h"

namespace trapline::differential {

class Inputs {
 public:
  explicit Inputs(uint64_t seed) : random_(seed) {}

  uint64_t Random() { return random_(); }
  // In [0, count).
  uint64_t Below(uint64_t count) { return random_() % count; }
  bool OneIn(uint64_t count) { return Below(count) == 0; }

  // Zero, ones, extremes and sign boundaries of each size, small numbers, random ones.
  uint64_t Integer();
  // Bit patterns: zeroes, denormals, ones, extremes, infinities, quiet and signalling NaNs,
  // integers at conversion limits, random ones.
  uint32_t Single();
  uint64_t Double();
  struct Extended {
    uint64_t mantissa;
    uint16_t sign_exponent;
  };
  Extended Extended80();  // unnormals and other unsupported encodings as well
  // Eighteen digits and a sign; now and then none.
  void Decimal(std::span<std::byte, 10> out);

  // x87, MXCSR and all registers.
  void Fxsave(std::span<std::byte, kFxsaveSize> image);
  uint64_t Flags();
  void FillBackground(Background& memory);

  // Sixteen bytes as one kind of vector or another.
  void Vector(std::span<std::byte, 16> out);

  uint16_t ControlWord();
  uint32_t Mxcsr();

 private:
  std::mt19937_64 random_;
};

}  // namespace trapline::differential

// SPDX-License-Identifier: Apache-2.0
// The edge cases.
#include "tests/differential/inputs.h"

#include <algorithm>
#include <cstring>

#include "core/x86/flags.h"

namespace trapline::differential {
namespace {

constexpr uint64_t kIntegers[] = {0,
                                  1,
                                  2,
                                  3,
                                  ~uint64_t{0},
                                  ~uint64_t{1},
                                  0x7f,
                                  0x80,
                                  0x81,
                                  0xff,
                                  0x100,
                                  0x7fff,
                                  0x8000,
                                  0xffff,
                                  0x10000,
                                  0x7fffffff,
                                  0x80000000,
                                  0x80000001,
                                  0xffffffff,
                                  0x100000000,
                                  0x7fffffffffffffff,
                                  0x8000000000000000,
                                  0x8000000000000001,
                                  0xffffffff80000000,
                                  0xffffffffffff8000,
                                  0xffffffffffffff80,
                                  8,
                                  15,
                                  16,
                                  17,
                                  31,
                                  32,
                                  33,
                                  63,
                                  64,
                                  65};

constexpr uint32_t kSingles[] = {
    0x00000000, 0x80000000,                          // zeroes
    0x00000001, 0x80000001, 0x007fffff, 0x807fffff,  // denormals
    0x00800000, 0x80800000,                          // the smallest normal numbers
    0x3f800000, 0xbf800000, 0x3f800001, 0x40000000,  // 1, -1, just above 1, 2
    0x3f000000, 0xbf000000, 0x3fc00000, 0xbfc00000,  // halves: ties of rounding
    0x7f7fffff, 0xff7fffff,                          // the largest
    0x7f800000, 0xff800000,                          // infinities
    0x7fc00000, 0xffc00000, 0x7fc12345,              // quiet NaNs
    0x7f800001, 0xff812345,                          // signalling NaNs
    0x4effffff, 0x4f000000, 0xcf000000, 0xcf000001,  // about 2^31
    0x5effffff, 0x5f000000, 0xdf000000,              // about 2^63
    0x46fffe00, 0x47000000, 0xc7000000,              // about 2^15
    0x00ffffff, 0x1a000000, 0x20000000, 0x60000000};

constexpr uint64_t kDoubles[] = {
    0x0000000000000000, 0x8000000000000000, 0x0000000000000001, 0x8000000000000001,
    0x000fffffffffffff, 0x800fffffffffffff, 0x0010000000000000, 0x8010000000000000,
    0x3ff0000000000000, 0xbff0000000000000, 0x3ff0000000000001, 0x4000000000000000,
    0x3fe0000000000000, 0xbfe0000000000000, 0x3ff8000000000000, 0xbff8000000000000,
    0x7fefffffffffffff, 0xffefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000,
    0x7ff8000000000000, 0xfff8000000000000, 0x7ff8123456789abc, 0x7ff0000000000001,
    0xfff4123456789abc, 0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000000000,
    0xc1e0000000200000, 0x43dfffffffffffff, 0x43e0000000000000, 0xc3e0000000000000,
    0x380fffffffffffff, 0x36a0000000000000, 0x47efffffe0000000, 0x47f0000000000000,
    0x3810000000000000, 0x1ff0000000000000, 0x6000000000000000};

constexpr uint64_t kMantissas[] = {0x8000000000000000, 0x8000000000000001, 0xffffffffffffffff,
                                   0xc000000000000000, 0xc000000012345678, 0x8000000012345678,
                                   0xfffffffffffff800, 0xfffffffffffffc00, 0xffffff0000000000,
                                   0xffffff8000000000, 0xc90fdaa22168c235};
constexpr uint16_t kExponents[] = {0x0001, 0x3ffe, 0x3fff, 0x4000, 0x3fbf, 0x3fc0, 0x403e,
                                   0x403d, 0x403f, 0x401e, 0x400e, 0x7ffe, 0x7fff, 0x3f81,
                                   0x3f6a, 0x407e, 0x43fe, 0x3c01, 0x3bcd, 0x4005};

template <typename T, size_t kSize>
T Pick(const T (&values)[kSize], uint64_t random) {
  return values[random % kSize];
}

constexpr uint16_t kX87Exceptions = 0x3f;
constexpr size_t kStOffset = 32, kXmmOffset = 160;

}  // namespace

uint64_t Inputs::Integer() {
  uint64_t kind = random_();
  switch (kind & 3) {
    case 0:
      return Pick(kIntegers, kind >> 8);
    case 1:
      return kind >> 56;
    case 2:
      return random_() >> ((kind >> 8) & 63);
    default:
      return random_();
  }
}

uint32_t Inputs::Single() {
  uint64_t kind = random_();
  if ((kind & 3) < 2) return Pick(kSingles, kind >> 8);
  auto bits = static_cast<uint32_t>(kind >> 32);
  // Near one, so that sums and products stay within range.
  if ((kind & 3) == 2) return (bits & 0x81ffffff) | 0x3e000000;
  return bits;
}

uint64_t Inputs::Double() {
  uint64_t kind = random_();
  if ((kind & 3) < 2) return Pick(kDoubles, kind >> 8);
  uint64_t bits = random_();
  if ((kind & 3) == 2) return (bits & 0x803fffffffffffff) | 0x3fc0000000000000;
  return bits;
}

Inputs::Extended Inputs::Extended80() {
  uint64_t kind = random_();
  auto sign = static_cast<uint16_t>(kind >> 48 & 0x8000);
  auto with = [sign](uint64_t mantissa, unsigned exponent) {
    return Extended{mantissa, static_cast<uint16_t>(sign | (exponent & 0x7fff))};
  };
  constexpr uint64_t kInteger = uint64_t{1} << 63;
  switch (kind & 15) {
    case 0:
    case 1:
      return with(0, 0);
    case 2:
      return with(random_() >> 1, 0);  // denormal
    case 3:
      return with(kInteger, 0x7fff);  // infinity
    case 4:
      return with(kInteger | kInteger >> 1 | random_(), 0x7fff);
    case 5:
      return with(kInteger | (random_() >> 2) | 1, 0x7fff);  // signalling
    case 6:
      return with(random_() >> 1, static_cast<unsigned>(kind >> 16));  // unnormal, pseudo-NaN
    case 7:
      return with(kInteger | random_(), 0);  // pseudo-denormal
    case 8:
    case 9:
      return with(kInteger | random_(), static_cast<unsigned>(kind >> 16));
    case 10: {
      // An integer of any size.
      uint64_t value = random_() >> (kind >> 8 & 63) | 1;
      int shift = __builtin_clzll(value);
      return with(value << shift, static_cast<unsigned>(0x3fff + 63 - shift));
    }
    case 11:
      return with(kInteger | random_(), static_cast<unsigned>(0x3fff + (kind >> 16) % 8 - 4));
    case 12:
      return with(kInteger, 0x3fff);
    default:
      return with(Pick(kMantissas, kind >> 8), Pick(kExponents, kind >> 16));
  }
}

void Inputs::Decimal(std::span<std::byte, 10> out) {
  bool proper = !OneIn(8);
  for (std::byte& byte : out) {
    uint64_t value = random_();
    byte = static_cast<std::byte>(proper ? value % 10 | value / 16 % 10 << 4 : value);
  }
  if (proper) out[9] = static_cast<std::byte>(random_() & 0x80);
}

void Inputs::Vector(std::span<std::byte, 16> out) {
  uint64_t kind = Below(4);
  for (size_t at = 0; at < 16; at += 8) {
    uint64_t value = kind == 0   ? uint64_t{Single()} << 32 | Single()
                     : kind == 1 ? Double()
                     : kind == 2 ? Integer()
                                 : random_();
    std::memcpy(&out[at], &value, sizeof value);
  }
}

uint16_t Inputs::ControlWord() {
  auto random = static_cast<uint16_t>(random_());
  uint16_t masks = OneIn(4) ? random & kX87Exceptions : kX87Exceptions;
  // Precision control 1 is reserved.
  uint16_t precision = random & 0x300;
  if (precision == 0x100) precision = 0x300;
  return static_cast<uint16_t>(0x40 | masks | precision | (random & 0x1c00));
}

uint32_t Inputs::Mxcsr() {
  auto random = static_cast<uint32_t>(random_());
  uint32_t value = random & 0xe000;                               // rounding, flush to zero
  if (OneIn(4)) value |= 0x40;                                    // denormals are zero
  value |= OneIn(4) ? random & 0x1f80 : 0x1f80;                   // masks
  if (OneIn(4)) value |= static_cast<uint32_t>(Random()) & 0x3f;  // sticky flags
  return value;
}

void Inputs::Fxsave(std::span<std::byte, kFxsaveSize> image) {
  std::fill(image.begin(), image.end(), std::byte{0});
  uint16_t control = ControlWord();
  auto random = static_cast<uint16_t>(random_());
  uint16_t status = random & 0x4700;        // condition codes
  if (OneIn(2)) status |= random & 0x3800;  // TOP
  if (OneIn(4)) status |= random & 0x7f;
  // Mostly no exception that waits to be raised.
  if (!OneIn(16)) status &= static_cast<uint16_t>(~(~control & kX87Exceptions));
  if (status & ~control & kX87Exceptions) status |= 0x8080;
  uint8_t tags = OneIn(3) ? static_cast<uint8_t>(random_()) : 0xff;
  uint32_t mxcsr = Mxcsr();
  std::memcpy(&image[0], &control, sizeof control);
  std::memcpy(&image[2], &status, sizeof status);
  std::memcpy(&image[4], &tags, sizeof tags);
  std::memcpy(&image[24], &mxcsr, sizeof mxcsr);
  for (size_t i = 0; i < 8; ++i) {
    Extended value = Extended80();
    std::memcpy(&image[kStOffset + i * 16], &value.mantissa, 8);
    std::memcpy(&image[kStOffset + i * 16 + 8], &value.sign_exponent, 2);
  }
  for (size_t i = 0; i < 16; ++i) {
    Vector(std::span<std::byte, 16>(&image[kXmmOffset + i * 16], 16));
  }
}

uint64_t Inputs::Flags() {
  namespace f = x86::rflags;
  uint64_t flags = random_() & f::kArithmetic;
  if (OneIn(4)) flags |= f::kDf;
  return flags | f::kReserved1 | f::kIf;
}

void Inputs::FillBackground(Background& memory) {
  for (size_t at = 0; at < memory.size(); at += 8) {
    uint64_t value = Integer();
    std::memcpy(&memory[at], &value, sizeof value);
    // Runs of the same, for the string instructions.
    if (OneIn(16) && at + 64 <= memory.size()) {
      for (int i = 0; i < 7; ++i, at += 8) std::memcpy(&memory[at + 8], &value, sizeof value);
    }
  }
}

}  // namespace trapline::differential

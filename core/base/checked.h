// SPDX-License-Identifier: Apache-2.0
// Arithmetic on untrusted sizes and addresses that reports overflow instead of wrapping.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>

namespace trapline::base {

// a + b, or nothing where the sum does not fit. Thread-safe.
template <std::unsigned_integral T>
constexpr std::optional<T> CheckedAdd(T a, T b) {
  T sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

// a * b, or nothing where the product does not fit. Thread-safe.
template <std::unsigned_integral T>
constexpr std::optional<T> CheckedMultiply(T a, T b) {
  T product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// True if [offset, offset + length) lies within [0, size), for any values. Thread-safe.
constexpr bool RangeFits(uint64_t offset, uint64_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

// value rounded up to a multiple of alignment (a power of two), or nothing on overflow.
constexpr std::optional<uint64_t> CheckedAlignUp(uint64_t value, uint64_t alignment) {
  auto sum = CheckedAdd(value, alignment - 1);
  if (!sum) return std::nullopt;
  return *sum & ~(alignment - 1);
}

__extension__ typedef unsigned __int128 Uint128;

// a * b / divisor without losing the upper half of the product; the quotient must fit. Thread-safe.
constexpr uint64_t MultiplyDivide(uint64_t a, uint64_t b, uint64_t divisor) {
  return static_cast<uint64_t>(static_cast<Uint128>(a) * b / divisor);
}

}  // namespace trapline::base

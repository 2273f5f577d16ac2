// SPDX-License-Identifier: Apache-2.0
// What hypercalls are called, and what their arguments mean: KVM's numbers and Trapline's (abi.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace trapline::guest {

// How a value is shown to people.
enum class Show : uint8_t {
  kDecimal,
  kHex,
  kWide,       // in hexadecimal, low half; the argument behind it is the high one
  kTime,       // nanoseconds of guest time; ~0: never
  kEvent,      // TRAPLINE_EVENT_...
  kTechnique,  // TRAPLINE_TECHNIQUE_...
  kText,       // bytes, lowest first; the argument behind it is how many
};

struct Argument {
  std::string_view name;  // empty: only its value is known
  Show show = Show::kHex;
};

struct Hypercall {
  uint64_t number = 0;
  std::string_view name = {};
  unsigned argument_count = 0;
  Argument arguments[4] = {};
  Show result = Show::kDecimal;
};

// In the order of their numbers.
std::span<const Hypercall> Hypercalls();
// Null for a number nobody knows.
const Hypercall* FindHypercall(uint64_t number);

// "send_ipi", or "hypercall_4711" for a number nobody knows.
std::string HypercallName(uint64_t number);
// How many arguments that hypercall has: 0 to 4, 4 for a number nobody knows.
unsigned HypercallArguments(uint64_t number);

// Whether a result is an error: -4095 to -1, as in Linux.
constexpr bool IsError(int64_t result) { return result < 0 && result >= -4095; }
// "EINVAL" for -22; empty for what hypercalls do not return.
std::string_view ErrorName(int64_t result);

}  // namespace trapline::guest

// SPDX-License-Identifier: Apache-2.0
// A traced hypercall, and its site, as every source of them has it: a stream, or a file of one.
#pragma once

#include <bit>
#include <cstdint>
#include <string>

namespace trapline::cli {

// As the API packs it (trapline/v1/traces.proto, StreamHypercallsResponse.packed).
struct TracedCall {
  uint64_t guest_ns = 0;
  uint64_t number = 0;
  uint64_t arguments[4] = {};
  int64_t result = 0;
  uint32_t site = 0;  // TraceSite.index
  uint32_t cycles = 0;
  uint16_t vcpu = 0;
  uint8_t path = 0;  // v1::Technique: EMULATE, INTERRUPT or LINKED
  uint8_t cpl = 0;
  uint32_t zero = 0;
};
static_assert(sizeof(TracedCall) == 72 && std::endian::native == std::endian::little);

struct TracedSite {
  std::string name;  // vms/{vm}/sites/{gpa}
  uint64_t gpa = 0;
  uint64_t gva = 0;
  std::string symbol;     // "name+0x12", empty if unknown
  uint64_t revision = 0;  // another whenever something of it changes; 0: not told of yet
};

}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// x87, MMX and SSE state, as FXSAVE lays it out (Intel SDM volume 1, table 10-2).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>

namespace trapline::engine::soft {

struct alignas(16) Xmm {
  uint64_t low, high;
};

constexpr uint32_t kMxcsrMask = 0xffff;  // the bits that MXCSR has

// The image is the state: the host's own FXRSTOR and FXSAVE take it as it stands.
struct alignas(16) FpuState {
  uint16_t control = 0x37f;
  uint16_t status = 0;
  uint8_t tags = 0;  // abridged: bit i set, physical register i holds a value
  uint8_t reserved = 0;
  uint16_t opcode = 0;
  uint64_t instruction_pointer = 0;
  uint64_t data_pointer = 0;
  uint32_t mxcsr = 0x1f80;
  uint32_t mxcsr_mask = 0xffff;
  struct alignas(16) {
    uint64_t mantissa;
    uint16_t sign_exponent;
    uint8_t padding[6];
  } st[8] = {};  // st[i] is ST(i)
  Xmm xmm[16] = {};
  uint8_t rest[96] = {};

  static constexpr uint16_t kTopShift = 11, kTopMask = 7 << kTopShift;

  // What every MMX instruction but EMMS does besides its work: TOP is zero and all registers are in
  // use. st[] then lies as the MMX registers do.
  void EnterMmx() {
    unsigned top = (status >> kTopShift) & 7;
    // st[i] is the physical register (top + i) modulo 8, and MMX counts the physical ones.
    std::rotate(std::begin(st), std::begin(st) + ((8 - top) & 7), std::end(st));
    status &= static_cast<uint16_t>(~kTopMask);
    tags = 0xff;
  }

  // Makes of an image from outside what FXRSTOR makes of it.
  void Normalise();

  // The image as a whole.
  void Save(std::span<std::byte, 512> image) const { std::memcpy(image.data(), this, 512); }
  void Load(std::span<const std::byte, 512> image) {
    std::memcpy(this, image.data(), 512);
    Normalise();
  }
};
static_assert(sizeof(FpuState) == 512);

}  // namespace trapline::engine::soft

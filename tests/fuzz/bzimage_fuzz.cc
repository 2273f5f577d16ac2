// SPDX-License-Identifier: Apache-2.0
// Hostile Linux kernels: the magic numbers are put right, all else is the fuzzer's.
#include "tests/fuzz/image_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trapline::machine;
  std::vector<std::byte> image = CopyOf(data, size);
  PutAt<uint16_t>(image, 0x1fe, 0xaa55);
  PutAt<uint32_t>(image, 0x202, 0x53726448);
  LoadHostileImage(image);
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// Hostile Multiboot images: a header with a right checksum stands where the first two bytes say.
#include "tests/fuzz/image_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trapline::machine;
  if (size < 8) return 0;
  constexpr uint32_t kMagic = 0x1badb002;
  size_t offset = (data[0] | data[1] << 8) % 8192 & ~size_t{3};
  uint32_t flags;
  std::memcpy(&flags, data + 2, sizeof flags);
  flags &= 0x10007;  // what is known; the loader refuses others outright
  std::vector<std::byte> image = CopyOf(data + 6, size - 6);
  PutAt(image, offset, kMagic);
  PutAt(image, offset + 4, flags);
  PutAt(image, offset + 8, 0 - kMagic - flags);
  LoadHostileImage(image);
  return 0;
}

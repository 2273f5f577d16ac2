// SPDX-License-Identifier: Apache-2.0
// Hostile ELF files, of either class by the first byte.
#include <elf.h>

#include "tests/fuzz/image_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trapline::machine;
  std::vector<std::byte> image = CopyOf(data, size);
  if (image.size() < EI_NIDENT) return 0;
  bool is_64 = (data[0] & 1) != 0;
  std::memcpy(image.data(), ELFMAG, SELFMAG);
  PutAt<uint8_t>(image, EI_CLASS, is_64 ? ELFCLASS64 : ELFCLASS32);
  PutAt<uint8_t>(image, EI_DATA, ELFDATA2LSB);
  PutAt<uint16_t>(image, offsetof(Elf64_Ehdr, e_machine), is_64 ? EM_X86_64 : EM_386);
  LoadHostileImage(image);
  return 0;
}

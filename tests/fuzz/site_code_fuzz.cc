// SPDX-License-Identifier: Apache-2.0
// Hostile code around a site: the first byte says where the site is, the second what is written
// over it.
#include "core/vm/site_code.h"

#include "tests/fuzz/image_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trapline;
  if (size < 3) return 0;
  vm::CodeWindow window{0x1000, machine::CopyOf(data + 2, size - 2), {}, 64, 0x1000};
  window.current = window.original;
  const uint64_t at = data[0] % window.original.size();
  machine::PutAt<uint8_t>(window.current, at, data[1]);
  const vm::Names names = [](uint64_t) { return "a_name"; };
  for (unsigned bits : {64u, 32u, 16u}) {
    window.code_bits = bits;
    const auto lines = vm::SiteLines(window, window.address + at, 100, 100, names);
    for (size_t i = 0; i < lines.size(); ++i) {
      if (!lines[i].original && !lines[i].current) std::abort();
      if (i > 0 && lines[i].address <= lines[i - 1].address) std::abort();
    }
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// What the image fuzzers share: one small VM's memory, loaded over and over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "core/machine/loader/image.h"
#include "core/machine/memory/guest_memory.h"

namespace trapline::machine {

// Loads kernel, with and without an initrd. Whatever it says, nothing may crash; a refusal must say
// why.
inline void LoadHostileImage(const std::vector<std::byte>& kernel) {
  static GuestMemory& memory = *[] {
    auto made = GuestMemory::Create(uint64_t{32} << 20);
    if (!made.ok()) std::abort();
    return made->release();
  }();
  static const std::vector<std::byte> initrd(5000, std::byte{0x5a});
  for (bool with_initrd : {false, true}) {
    auto loaded = LoadImage(
        memory, {kernel, with_initrd ? std::span(initrd) : std::span<const std::byte>(), "a=b", 2});
    if (!loaded.ok() && loaded.status().message().empty()) std::abort();
    if (!memory.Clear().ok()) std::abort();
  }
}

inline std::vector<std::byte> CopyOf(const uint8_t* data, size_t size) {
  auto bytes = std::as_bytes(std::span(data, size));
  return {bytes.begin(), bytes.end()};
}

template <typename T>
void PutAt(std::vector<std::byte>& bytes, size_t offset, T value) {
  if (offset + sizeof value <= bytes.size())
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// Fixed-layout structures in untrusted bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

#include "core/base/checked.h"

namespace trapline::machine {

// The T at offset, or nothing where the bytes end before it does.
template <typename T>
requires std::is_trivially_copyable_v<T> std::optional<T> ReadAt(std::span<const std::byte> bytes,
                                                                 uint64_t offset) {
  if (!base::RangeFits(offset, sizeof(T), bytes.size())) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

template <typename T>
std::span<const std::byte> BytesOf(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace trapline::machine

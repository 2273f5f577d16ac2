// SPDX-License-Identifier: Apache-2.0
// A fuzzer's input, taken from the front; zeros follow its end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace trapline {

struct Input {
  const uint8_t* data;
  size_t left;

  template <typename T>
  T Take() {
    T value{};
    Read(&value, sizeof value);
    return value;
  }
  // As many as there are of `size`.
  std::string Bytes(size_t size) {
    std::string bytes(std::min(size, left), 0);
    Read(bytes.data(), bytes.size());
    return bytes;
  }
  template <typename T, size_t kSize>
  const T& OneOf(const T (&choices)[kSize]) {
    return choices[Take<uint8_t>() % kSize];
  }
  template <typename T>
  const T& OneOf(std::span<const T> choices) {
    return choices[Take<uint8_t>() % choices.size()];
  }

 private:
  void Read(void* to, size_t size) {
    size = std::min(size, left);
    if (size == 0) return;
    std::memcpy(to, data, size);
    data += size;
    left -= size;
  }
};

}  // namespace trapline

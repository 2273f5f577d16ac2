// SPDX-License-Identifier: Apache-2.0
// Just enough of ACPI Machine Language to describe the board (ACPI 6.4, chapter 20).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace trapline::machine {

using Bytes = std::vector<std::byte>;

// Little-endian, packed.
template <typename T>
void Put(Bytes& out, T value) {
  size_t at = out.size();
  out.resize(at + sizeof value);
  std::memcpy(out.data() + at, &value, sizeof value);
}
inline void Append(Bytes& out, const Bytes& more) {
  out.insert(out.end(), more.begin(), more.end());
}

namespace aml {

// Names are of four characters.
Bytes Integer(uint32_t value);
Bytes EisaId(std::string_view id);  // "PNP0501"
Bytes Package(std::initializer_list<uint8_t> values);
Bytes Name(std::string_view name, const Bytes& value);
Bytes Scope(std::string_view name, const Bytes& body);
Bytes Device(std::string_view name, const Bytes& body);
// A resource template with one port range and one edge-triggered interrupt line.
Bytes PortAndLine(uint16_t port, uint8_t ports, uint8_t line);

}  // namespace aml
}  // namespace trapline::machine

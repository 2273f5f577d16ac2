// SPDX-License-Identifier: Apache-2.0
// AML encodings.
#include "core/machine/acpi/aml.h"

namespace trapline::machine::aml {
namespace {

constexpr uint8_t kNameOp = 0x08, kBytePrefix = 0x0a, kDwordPrefix = 0x0c, kScopeOp = 0x10,
                  kBufferOp = 0x11, kPackageOp = 0x12, kExtendedPrefix = 0x5b, kDeviceOp = 0x82;

void PutName(Bytes& out, std::string_view name) {
  for (char c : name) Put<uint8_t>(out, static_cast<uint8_t>(c));
}

// PkgLength counts itself (section 20.2.4).
Bytes WithLength(const Bytes& body) {
  Bytes out;
  size_t one = body.size() + 1;
  if (one < 0x40) {
    Put<uint8_t>(out, static_cast<uint8_t>(one));
  } else {
    size_t two = body.size() + 2;
    Put<uint8_t>(out, static_cast<uint8_t>(0x40 | (two & 0xf)));
    Put<uint8_t>(out, static_cast<uint8_t>(two >> 4));
  }
  Append(out, body);
  return out;
}

Bytes Named(std::string_view name, const Bytes& body) {
  Bytes inner;
  PutName(inner, name);
  Append(inner, body);
  return WithLength(inner);
}

}  // namespace

Bytes Integer(uint32_t value) {
  Bytes out;
  if (value < 0x100) {
    Put<uint8_t>(out, kBytePrefix);
    Put<uint8_t>(out, static_cast<uint8_t>(value));
  } else {
    Put<uint8_t>(out, kDwordPrefix);
    Put<uint32_t>(out, value);
  }
  return out;
}

Bytes EisaId(std::string_view id) {
  auto letter = [&](size_t i) { return static_cast<uint32_t>(id[i] - 'A' + 1); };
  auto digit = [&](size_t i) {
    return static_cast<uint32_t>(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
  };
  uint32_t value = letter(0) << 26 | letter(1) << 21 | letter(2) << 16 | digit(3) << 12 |
                   digit(4) << 8 | digit(5) << 4 | digit(6);
  Bytes out;
  Put<uint8_t>(out, kDwordPrefix);
  Put<uint32_t>(out, __builtin_bswap32(value));
  return out;
}

Bytes Package(std::initializer_list<uint8_t> values) {
  Bytes body;
  Put<uint8_t>(body, static_cast<uint8_t>(values.size()));
  for (uint8_t value : values) Append(body, Integer(value));
  Bytes out;
  Put<uint8_t>(out, kPackageOp);
  Append(out, WithLength(body));
  return out;
}

Bytes Name(std::string_view name, const Bytes& value) {
  Bytes out;
  Put<uint8_t>(out, kNameOp);
  PutName(out, name);
  Append(out, value);
  return out;
}

Bytes Scope(std::string_view name, const Bytes& body) {
  Bytes out;
  Put<uint8_t>(out, kScopeOp);
  Append(out, Named(name, body));
  return out;
}

Bytes Device(std::string_view name, const Bytes& body) {
  Bytes out;
  Put<uint8_t>(out, kExtendedPrefix);
  Put<uint8_t>(out, kDeviceOp);
  Append(out, Named(name, body));
  return out;
}

Bytes PortAndLine(uint16_t port, uint8_t ports, uint8_t line) {
  Bytes resources;
  Put<uint8_t>(resources, 0x47);  // I/O port descriptor, 16-bit decode
  Put<uint8_t>(resources, 1);
  Put<uint16_t>(resources, port);
  Put<uint16_t>(resources, port);
  Put<uint8_t>(resources, 1);
  Put<uint8_t>(resources, ports);
  Put<uint8_t>(resources, 0x22);  // IRQ descriptor
  Put<uint16_t>(resources, static_cast<uint16_t>(1u << line));
  Put<uint8_t>(resources, 0x79);  // end tag, no checksum
  Put<uint8_t>(resources, 0);
  Bytes body = Integer(static_cast<uint32_t>(resources.size()));
  Append(body, resources);
  Bytes out;
  Put<uint8_t>(out, kBufferOp);
  Append(out, WithLength(body));
  return out;
}

}  // namespace trapline::machine::aml

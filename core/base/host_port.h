// SPDX-License-Identifier: Apache-2.0
// Addresses as people write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trapline::base {

struct HostPort {
  std::string host;  // a name or an address, without brackets; empty where there is none
  uint16_t port;
};

// Of HOST:PORT, or [IPV6]:PORT (RFC 3986, 3.2.2), with a decimal port of 0 to 65535; nullopt:
// anything else. That there is such a host is not looked at. Thread-safe.
std::optional<HostPort> ParseHostPort(std::string_view text);

}  // namespace trapline::base

// SPDX-License-Identifier: Apache-2.0
// HOST:PORT taken apart.
#include "core/base/host_port.h"

#include <charconv>

namespace trapline::base {

std::optional<HostPort> ParseHostPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool ipv6 = host.find(':') != std::string_view::npos;
  if (ipv6 != bracketed || host.find_first_of("[]") != std::string_view::npos) return std::nullopt;
  HostPort parsed{std::string(host), 0};
  const auto [end, error] = std::from_chars(port.begin(), port.end(), parsed.port);
  if (error != std::errc() || end != port.end()) return std::nullopt;
  return parsed;
}

}  // namespace trapline::base

// SPDX-License-Identifier: Apache-2.0
// JSON's escapes.
#include "daemon/common/json_quote.h"

#include <cstdio>

namespace trapline::daemon {

std::string JsonQuoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace trapline::daemon

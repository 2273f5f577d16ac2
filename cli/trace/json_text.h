// SPDX-License-Identifier: Apache-2.0
// Text as a JSON string.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace trapline::cli {

// With its quotes, as protobuf writes it.
std::string Quoted(absl::string_view text);
// The same, and quicker, of printable ASCII.
void AppendQuoted(absl::string_view ascii, std::string& out);

}  // namespace trapline::cli

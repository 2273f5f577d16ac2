// SPDX-License-Identifier: Apache-2.0
// A text as JSON has it.
#pragma once

#include <string>
#include <string_view>

namespace trapline::daemon {

// In quotes, with escapes where JSON wants them.
std::string JsonQuoted(std::string_view text);

}  // namespace trapline::daemon

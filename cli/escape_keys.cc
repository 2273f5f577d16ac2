// SPDX-License-Identifier: Apache-2.0
// What is typed at a raw console: bytes for the guest, and the escape key (Ctrl-]) with what
// follows it.
#include "cli/escape_keys.h"

#include <utility>

namespace trapline::cli {

EscapeKeys::Result EscapeKeys::Feed(absl::string_view typed) {
  Result result;
  for (const char key : typed) {
    if (!std::exchange(escaped_, false)) {
      if (key == kEscape) {
        escaped_ = true;
      } else {
        result.bytes.push_back(key);
      }
      continue;
    }
    switch (key) {
      case kEscape:
        result.bytes.push_back(key);
        break;
      case 'd':
        result.action = KeyAction::kDetach;
        return result;
      case 'q':
        result.action = KeyAction::kStop;
        return result;
      default:
        result.action = KeyAction::kHelp;
        break;
    }
  }
  return result;
}

}  // namespace trapline::cli

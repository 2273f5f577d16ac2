// SPDX-License-Identifier: Apache-2.0
// What is typed at a raw console: bytes for the guest, and the escape key (Ctrl-]) with what
// follows it.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace trapline::cli {

enum class KeyAction {
  kNone,
  kDetach,  // Ctrl-] d
  kStop,    // Ctrl-] q
  kHelp,    // Ctrl-] ?, or any key that means nothing after it
};

// Ctrl-] Ctrl-] sends one Ctrl-] to the guest. The escape may be split over calls.
class EscapeKeys {
 public:
  static constexpr char kEscape = 0x1d;

  struct Result {
    std::string bytes;  // for the guest, to be sent before the action is taken
    KeyAction action = KeyAction::kNone;
  };

  // Stops at the first action: what was typed after kDetach or kStop is dropped.
  Result Feed(absl::string_view typed);

 private:
  bool escaped_ = false;
};

}  // namespace trapline::cli

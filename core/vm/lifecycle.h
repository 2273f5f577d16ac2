// SPDX-License-Identifier: Apache-2.0
// The lifecycle state machine: which move is allowed from which state.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "core/vm/vm.h"

namespace trapline::vm {

enum class Move { kStart, kPause, kResume, kReset, kStop };

std::string_view MoveName(Move move);

// OK where the move is allowed in this state; else FAILED_PRECONDITION that names the state and
// those allowed. Stopping a stopped or failed VM is allowed and does nothing. Thread-safe.
absl::Status CheckMove(Move move, State state);

}  // namespace trapline::vm

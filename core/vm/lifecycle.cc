// SPDX-License-Identifier: Apache-2.0
// The lifecycle table.
#include "core/vm/lifecycle.h"

#include <array>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace trapline::vm {
namespace {

struct Rule {
  Move move;
  std::string_view name;
  std::vector<State> from;
};

const std::array<Rule, 5>& Rules() {
  static const std::array<Rule, 5> rules = {{
      {Move::kStart, "start", {State::kCreated, State::kStopped, State::kFailed}},
      {Move::kPause, "pause", {State::kRunning}},
      {Move::kResume, "resume", {State::kPaused}},
      {Move::kReset, "reset", {State::kRunning, State::kPaused}},
      {Move::kStop,
       "stop",
       {State::kCreated, State::kRunning, State::kPaused, State::kStopped, State::kFailed}},
  }};
  return rules;
}

const Rule& RuleOf(Move move) { return Rules()[static_cast<size_t>(move)]; }

}  // namespace

std::string_view StateName(State state) {
  switch (state) {
    case State::kCreated:
      return "created";
    case State::kRunning:
      return "running";
    case State::kPaused:
      return "paused";
    case State::kStopped:
      return "stopped";
    case State::kFailed:
      return "failed";
  }
  return "unknown";
}

std::string_view MoveName(Move move) { return RuleOf(move).name; }

absl::Status CheckMove(Move move, State state) {
  const Rule& rule = RuleOf(move);
  for (State allowed : rule.from) {
    if (allowed == state) return absl::OkStatus();
  }
  std::string allowed = absl::StrJoin(rule.from, " or ", [](std::string* out, State from) {
    absl::StrAppend(out, std::string(StateName(from)));
  });
  return absl::FailedPreconditionError(absl::StrCat("cannot ", std::string(rule.name),
                                                    " a VM that is ", std::string(StateName(state)),
                                                    ": it must be ", allowed));
}

}  // namespace trapline::vm

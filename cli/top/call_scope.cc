// SPDX-License-Identifier: Apache-2.0
// Calls that are given up together.
#include "cli/top/call_scope.h"

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/status.h"

namespace trapline::cli::top {

void CallScope::Cancel() {
  const absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : contexts_) context->TryCancel();
}

bool CallScope::cancelled() const {
  const absl::MutexLock lock(&mutex_);
  return cancelled_;
}

bool CallScope::Sleep(absl::Duration duration) {
  const absl::MutexLock lock(&mutex_);
  return !mutex_.AwaitWithTimeout(absl::Condition(&cancelled_), duration);
}

CallScope::Call::Call(CallScope& scope, Patience patience)
    : scope_(scope), context_(scope.session_.Context(patience)) {
  const absl::MutexLock lock(&scope_.mutex_);
  scope_.contexts_.insert(context_.get());
  if (scope_.cancelled_) context_->TryCancel();
}

CallScope::Call::~Call() {
  const absl::MutexLock lock(&scope_.mutex_);
  scope_.contexts_.erase(context_.get());
}

std::string OneLine(const absl::Status& status) {
  if (absl::IsUnimplemented(status)) return "this daemon does not know that call: it is older";
  std::vector<std::string> parts;
  for (const absl::string_view line : absl::StrSplit(DescribeStatus(status), '\n')) {
    const absl::string_view part = absl::StripAsciiWhitespace(line);
    // The reason is for programs, and the room is short.
    if (!absl::StartsWith(part, "reason: ")) parts.emplace_back(part);
  }
  return absl::StrJoin(parts, "; ");
}

}  // namespace trapline::cli::top

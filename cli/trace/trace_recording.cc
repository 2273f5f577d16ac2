// SPDX-License-Identifier: Apache-2.0
// A live trace on its way into a file.
#include "cli/trace/trace_recording.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/terminal.h"
#include "cli/trace/traced_call.h"
#include "cli/units.h"

namespace trapline::cli {
namespace {

constexpr absl::Duration kBetweenProgress = absl::Milliseconds(200);
constexpr absl::string_view kClearLine = "\r\033[K";

}  // namespace

absl::StatusOr<bool> TraceRecording::Take(const v1::StreamHypercallsResponse& response) {
  const uint64_t calls = response.packed().size() / sizeof(TracedCall);
  const uint64_t wanted = limit_ == 0 ? calls : std::min(calls, limit_ - calls_);
  absl::Status status;
  if (wanted == calls) {
    status = file_->Append(response);
  } else {
    v1::StreamHypercallsResponse first = response;
    first.mutable_packed()->resize(wanted * sizeof(TracedCall));
    status = file_->Append(first);
  }
  if (!status.ok()) return status;
  calls_ += wanted;
  dropped_ = response.dropped();
  ShowProgress();
  return limit_ == 0 || calls_ < limit_;
}

absl::Status TraceRecording::Close() {
  if (progress_) (void)WriteAll(STDERR_FILENO, kClearLine);
  return file_->Close();
}

std::string TraceRecording::Text() const {
  return absl::StrCat(Grouped(calls_), " hypercalls, ", FormatSize(file_->bytes()), ", ",
                      Grouped(dropped_), " dropped");
}

void TraceRecording::ShowProgress() {
  const absl::Time now = progress_ ? absl::Now() : absl::InfinitePast();
  if (!progress_ || now < next_progress_) return;
  next_progress_ = now + kBetweenProgress;
  (void)WriteAll(STDERR_FILENO, absl::StrCat(kClearLine, Text()));
}

}  // namespace trapline::cli

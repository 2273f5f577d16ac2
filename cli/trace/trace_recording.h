// SPDX-License-Identifier: Apache-2.0
// A live trace on its way into a file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/trace/trace_file.h"

namespace trapline::cli {

class TraceRecording {
 public:
  // limit 0: all. `progress`: say on standard error how it goes on.
  TraceRecording(std::unique_ptr<TraceFileWriter> file, uint64_t limit, bool progress)
      : file_(std::move(file)), limit_(limit), progress_(progress) {}

  // False where there were enough.
  absl::StatusOr<bool> Take(const v1::StreamHypercallsResponse& response);
  absl::Status Close();
  // "1,234 hypercalls, 87.5K, 0 dropped"
  std::string Text() const;

 private:
  void ShowProgress();

  const std::unique_ptr<TraceFileWriter> file_;
  const uint64_t limit_;
  const bool progress_;
  uint64_t calls_ = 0;
  uint64_t dropped_ = 0;
  absl::Time next_progress_ = absl::InfinitePast();
};

}  // namespace trapline::cli

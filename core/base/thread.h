// SPDX-License-Identifier: Apache-2.0
// Threads that may not be had: std::thread's constructor throws, which would end the process.
#pragma once

#include <system_error>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace trapline::base {

// RESOURCE_EXHAUSTED with the reason where there is no thread to be had. what: what it was for.
template <typename Main>
absl::StatusOr<std::thread> StartThread(absl::string_view what, Main main) {
  try {
    return std::thread(std::move(main));
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no thread for ", what, ": ", error.what(),
                     "; the limit on processes (RLIMIT_NPROC, pids cgroup) or memory is reached"));
  }
}

// OK where so many threads more are to be had at once: for what makes them itself, and aborts or
// says nothing where it cannot. what: as above. Thread-safe.
absl::Status TryThreads(absl::string_view what, int threads);

}  // namespace trapline::base

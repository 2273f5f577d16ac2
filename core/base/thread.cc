// SPDX-License-Identifier: Apache-2.0
// Threads that are made to see whether they can be.
#include "core/base/thread.h"

#include <latch>
#include <vector>

namespace trapline::base {

absl::Status TryThreads(absl::string_view what, int threads) {
  absl::Status status;
  std::latch tried(1);
  std::vector<std::thread> made;
  for (int i = 0; i < threads && status.ok(); ++i) {
    auto thread = StartThread(what, [&] { tried.wait(); });
    status = thread.status();
    if (thread.ok()) made.push_back(*std::move(thread));
  }
  tried.count_down();
  for (std::thread& thread : made) thread.join();
  return status;
}

}  // namespace trapline::base

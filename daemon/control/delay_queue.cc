// SPDX-License-Identifier: Apache-2.0
// The queue's threads.
#include "daemon/control/delay_queue.h"

#include <utility>

#include "absl/time/clock.h"
#include "core/base/thread.h"

namespace trapline::daemon {

absl::Status DelayQueue::Start() {
  for (int i = 0; i < kThreads; ++i) {
    auto thread = base::StartThread("what is to be done later", [this] { Serve(); });
    if (!thread.ok()) return thread.status();
    threads_.push_back(*std::move(thread));
  }
  return absl::OkStatus();
}

void DelayQueue::At(absl::Time when, std::function<void()> task) {
  absl::MutexLock lock(&mutex_);
  tasks_.emplace(when, std::move(task));
}

void DelayQueue::End() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
    tasks_.clear();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void DelayQueue::Serve() {
  absl::MutexLock lock(&mutex_);
  for (;;) {
    const absl::Time first = tasks_.empty() ? absl::InfiniteFuture() : tasks_.begin()->first;
    auto earlier = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return ending_ || (!tasks_.empty() && tasks_.begin()->first < first);
    };
    mutex_.AwaitWithDeadline(absl::Condition(&earlier), first);
    if (ending_) return;
    if (tasks_.empty() || tasks_.begin()->first > absl::Now()) continue;
    std::function<void()> task = std::move(tasks_.begin()->second);
    tasks_.erase(tasks_.begin());
    mutex_.Unlock();
    task();
    task = nullptr;
    mutex_.Lock();
  }
}

}  // namespace trapline::daemon

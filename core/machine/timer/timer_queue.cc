// SPDX-License-Identifier: Apache-2.0
// The timer thread.
#include "core/machine/timer/timer_queue.h"

#include <utility>

#include "absl/time/time.h"

namespace trapline::machine {

TimerQueue::TimerQueue(base::VmClock& clock) : clock_(clock), thread_([this] { Main(); }) {}

TimerQueue::~TimerQueue() { Stop(); }

void TimerQueue::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
    changed_.Signal();
  }
  if (thread_.joinable()) thread_.join();
}

TimerQueue::Id TimerQueue::Add(std::function<void()> fire) {
  absl::MutexLock lock(&mutex_);
  Id id = next_id_++;
  timers_[id].fire = std::move(fire);
  return id;
}

void TimerQueue::Arm(Id id, uint64_t deadline) {
  absl::MutexLock lock(&mutex_);
  timers_[id].deadline = deadline;
  Timer* earliest = EarliestLocked();
  if (earliest && earliest->deadline == deadline) changed_.Signal();
}

void TimerQueue::Disarm(Id id) {
  absl::MutexLock lock(&mutex_);
  timers_[id].deadline = kNever;
}

void TimerQueue::Rearm() {
  absl::MutexLock lock(&mutex_);
  changed_.Signal();
}

TimerQueue::Timer* TimerQueue::EarliestLocked() {
  Timer* earliest = nullptr;
  for (auto& [id, timer] : timers_) {
    if (timer.deadline != kNever && (!earliest || timer.deadline < earliest->deadline)) {
      earliest = &timer;
    }
  }
  return earliest;
}

void TimerQueue::Main() {
  mutex_.Lock();
  while (!ending_) {
    Timer* timer = clock_.running() ? EarliestLocked() : nullptr;
    if (!timer) {
      changed_.Wait(&mutex_);
      continue;
    }
    uint64_t now = clock_.Ticks();
    if (timer->deadline > now) {
      uint64_t left = clock_.TicksToNanoseconds(timer->deadline - now);
      changed_.WaitWithTimeout(&mutex_, absl::Nanoseconds(static_cast<int64_t>(left)));
      continue;
    }
    timer->deadline = kNever;
    auto fire = timer->fire;
    mutex_.Unlock();
    fire();
    mutex_.Lock();
  }
  mutex_.Unlock();
}

}  // namespace trapline::machine

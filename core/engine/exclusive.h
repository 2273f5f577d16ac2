// SPDX-License-Identifier: Apache-2.0
// Lets one party work while no vCPU executes a guest instruction.
//
// A vCPU is "executing" from Begin to End; it passes a safe point (End, Begin) at least at every
// block boundary, or hands over, once it was asked to. Run asks all vCPUs, waits until none
// executes, and holds those that want to begin. A vCPU may call Run itself from within an
// instruction: it stops counting as executing for that time, so two that want to be alone take
// turns instead of waiting for each other. What such a vCPU had looked up before (translations, its
// own block) may be stale afterwards. Who is alone may call Run again and stays alone: a locked
// instruction that hits a rewritten page does. A body may throw a guest fault.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"

namespace trapline::engine {

// Thread-safe.
class Exclusive {
 public:
  // ask makes one vCPU come to a safe point soon. Before any vCPU runs.
  void AddVcpu(std::function<void()> ask) { asks_.push_back(std::move(ask)); }

  void Begin() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Exclusive::NobodyAloneLocked));
    ++executing_;
    inside_ = this;
  }
  void End() {
    absl::MutexLock lock(&mutex_);
    --executing_;
    inside_ = nullptr;
  }
  void SafePoint() {
    End();
    Begin();
  }

  void Run(absl::FunctionRef<void()> body) {
    if (alone_in_ == this) {
      body();
      return;
    }
    bool was_inside = inside_ == this;
    if (was_inside) End();
    absl::Cleanup come_back = [&] {
      if (was_inside) Begin();
    };
    absl::MutexLock alone(&alone_);
    {
      absl::MutexLock lock(&mutex_);
      wanted_ = true;
    }
    for (auto& ask : asks_) ask();
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &Exclusive::NobodyExecutesLocked));
    }
    const Exclusive* outer = std::exchange(alone_in_, this);
    absl::Cleanup let_go = [&] {
      alone_in_ = outer;
      absl::MutexLock lock(&mutex_);
      wanted_ = false;
    };
    body();
  }

 private:
  bool NobodyAloneLocked() const { return !wanted_; }
  bool NobodyExecutesLocked() const { return executing_ == 0; }

  // Lock order: alone_, mutex_.
  absl::Mutex alone_;
  absl::Mutex mutex_;
  bool wanted_ ABSL_GUARDED_BY(mutex_) = false;
  uint32_t executing_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::function<void()>> asks_;
  // The instance that the calling thread executes under.
  static thread_local inline const Exclusive* inside_ = nullptr;
  // The one that it is alone in.
  static thread_local inline const Exclusive* alone_in_ = nullptr;
};

}  // namespace trapline::engine

// SPDX-License-Identifier: Apache-2.0
// The model as the threads that feed it and the one that shows it share it.
#pragma once

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "cli/top/model.h"
#include "core/base/unique_fd.h"

namespace trapline::cli::top {

class SharedModel {
 public:
  explicit SharedModel(absl::Duration interval);

  // Changes it, and wakes who waits on wake_fd.
  template <typename Change>
  void Update(Change change) {
    {
      const absl::MutexLock lock(&mutex_);
      change(model_);
    }
    Wake();
  }
  template <typename Look>
  auto Read(Look look) const {
    const absl::MutexLock lock(&mutex_);
    return look(static_cast<const Model&>(model_));
  }

  // Model::Quieten.
  bool Quieten(absl::Time now) {
    const absl::MutexLock lock(&mutex_);
    return model_.Quieten(now);
  }

  // Wakes for what is not in the model.
  void Wake();
  // An eventfd: readable when something has changed.
  int wake_fd() const { return wake_.get(); }
  // Takes the news off it.
  void Drain();

 private:
  const base::UniqueFd wake_;
  mutable absl::Mutex mutex_;
  Model model_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::cli::top

// SPDX-License-Identifier: Apache-2.0
// A guest process, seen from the VMM: started, kicked, watched, ended.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/unique_fd.h"
#include "core/engine/direct/layout.h"

namespace trapline::engine::direct {

// The process, gone with the object. Thread-safe but for Reap.
class GuestProcess {
 public:
  // The descriptors that it starts with, in the order of SetupFd. It dies with the calling thread.
  // UNAVAILABLE with the reason where none can be started.
  using Descriptors = std::array<int, kFdEnd - kControlFd>;
  static absl::StatusOr<std::unique_ptr<GuestProcess>> Start(const Descriptors& descriptors);
  virtual ~GuestProcess() = default;

  // Readable once the process has ended.
  virtual int pidfd() const = 0;
  // Makes it hand over.
  virtual void Kick() = 0;
  virtual void Kill() = 0;
  // Stops it, whatever it does, and returns when it executes nothing any more; and lets it go on.
  virtual void Freeze() = 0;
  virtual void Thaw() = 0;
  // Waits for its end, and says how it came: "was killed by signal 11 (Segmentation fault)".
  virtual std::string Reap() = 0;
};

// One thread that hears of processes that end. Thread-safe.
class ProcessWatch {
 public:
  // UNAVAILABLE where the host has no room for it.
  static absl::StatusOr<std::unique_ptr<ProcessWatch>> Create();
  ~ProcessWatch();

  // Calls on_end once, on the watch's thread, when the process ends; pidfd stays open until Remove.
  absl::Status Add(int pidfd, std::function<void()> on_end);
  // When this returns, on_end is not being called and will not be. Not from on_end.
  void Remove(int pidfd);

 private:
  ProcessWatch(base::UniqueFd epoll, base::UniqueFd stop);
  void Main();

  const base::UniqueFd epoll_, stop_;
  absl::Mutex mutex_;  // held while on_end is called
  std::map<int, std::function<void()>> watched_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace trapline::engine::direct

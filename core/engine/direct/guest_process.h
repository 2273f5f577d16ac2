// SPDX-License-Identifier: Apache-2.0
// A guest process, seen from the VMM: started, kicked, watched, ended.
#pragma once

#include <sys/types.h>

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
  ~GuestProcess();

  int pidfd() const { return pidfd_.get(); }
  pid_t pid() const { return pid_; }
  // Makes it hand over.
  void Kick();
  void Kill();
  // Stops it, whatever it does, and returns when it executes nothing any more; and lets it go on.
  void Freeze();
  void Thaw();
  // Waits for its end, and says how it came: "was killed by signal 11 (Segmentation fault)".
  std::string Reap();

 private:
  GuestProcess(pid_t pid, base::UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

  const pid_t pid_;
  const base::UniqueFd pidfd_;
  std::string ended_;  // how, once it was reaped
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

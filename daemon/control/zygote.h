// SPDX-License-Identifier: Apache-2.0
// The daemon's side of the zygote (daemon/vmm/zygote.cc): keeps one, asks it for workers.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/unique_fd.h"

namespace trapline::daemon {

// Starts a program of the daemon's own: no signal blocked or ignored, a process group of its own
// (so that Ctrl-C is for the daemon alone), `inherited` as its descriptor kInheritedFd, and
// `variable` (as "NAME=value"; may be null) in its environment. Zero, or an errno. Thread-safe.
int Spawn(std::vector<std::string> words, int inherited, char* variable, pid_t* pid);

// Thread-safe.
class Zygote {
 public:
  // words: trapline-vmm and its options. The zygote is started at once, and is ready in its own
  // time; requests wait until then.
  explicit Zygote(std::vector<std::string> words);
  ~Zygote();
  Zygote(const Zygote&) = delete;
  Zygote& operator=(const Zygote&) = delete;

  // Asks for a worker that serves on that socket, is given those files, and tells so on `ready`
  // (zygote_protocol.h); the caller closes its copy of `ready`. A zygote that is dead, or whose
  // program on disk is another by now, is replaced first. False: there is none to be had.
  bool Ask(const std::string& socket, const std::vector<std::string>& files, int ready);
  // A request came to nothing: the zygote is no good. After kMaxFailures in a row no other is
  // tried.
  void Failed();
  // A request came to a worker.
  void Succeeded();

 private:
  static constexpr int kMaxFailures = 3;

  bool Start() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool SameProgram() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::vector<std::string> words_;
  absl::Mutex mutex_;
  base::UniqueFd control_ ABSL_GUARDED_BY(mutex_);
  pid_t pid_ ABSL_GUARDED_BY(mutex_) = 0;
  struct stat program_ ABSL_GUARDED_BY(mutex_) {};
  int failures_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace trapline::daemon

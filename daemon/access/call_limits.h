// SPDX-License-Identifier: Apache-2.0
// How many calls of one caller are under way at once, and no more than it may have.
//
// There are so many threads for all callers, and each stream takes memory; without a bound whoever
// asks for enough of them would leave none to others.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "daemon/access/access_config.h"
#include "grpcpp/support/status.h"

namespace trapline::daemon {

// Thread-safe.
class CallLimits {
 public:
  // A call holds a thread while it is under way; a stream, or a wait, does not.
  enum class Kind { kCall, kStream };
  // Held as long as the call is under way; not longer than the CallLimits it is of.
  using Place = std::shared_ptr<const void>;

  explicit CallLimits(const LimitsConfig& config);

  // RESOURCE_EXHAUSTED, with the caller and the limit, where it has as many as it may.
  grpc::Status Enter(const std::string& caller, Kind kind, Place* place);

 private:
  using Counts = std::array<uint32_t, 2>;  // by kind

  void Leave(const std::string& caller, Kind kind);

  const Counts most_;
  absl::Mutex mutex_;
  std::map<std::string, Counts> under_way_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::daemon

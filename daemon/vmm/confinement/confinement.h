// SPDX-License-Identifier: Apache-2.0
// Keeps a worker in: whoever takes it over by way of its guest finds next to nothing to use.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/vmm/confinement/measure.h"
#include "daemon/vmm/confinement/namespaces.h"
#include "daemon/vmm/confinement/system_calls.h"

namespace trapline::daemon {

// The steps, in their order. What a host does not grant is left out and told of.
class Confinement {
 public:
  // wanted: false has all steps do nothing.
  explicit Confinement(bool wanted) : wanted_(wanted) {}

  // While there is one thread: what a worker has in common with those forked from the same process.
  void Prepare();
  // In the worker, while there is one thread and every file it needs is open: nothing but this
  // directory from now on, no privileges, and the calls that it takes to make a VM.
  void Enter(const std::string& directory);
  // The VM is made and has not run: all threads can do no more than serve it.
  void Seal(bool engine_direct);
  // For the calling thread, which is about to run a guest: no more than that takes. Behind Seal;
  // thread-safe. A thread that cannot be confined ends the process.
  void EnterVcpu() const;

  // Valid after Seal.
  const std::vector<Measure>& measures() const { return measures_; }

 private:
  const CallFilter& Filter(CallRole role) const { return *filters_[static_cast<size_t>(role)]; }
  absl::Status StartFiltering() const;

  const bool wanted_;
  Namespaces namespaces_;
  std::vector<absl::StatusOr<CallFilter>> filters_;  // by role
  absl::Status filtering_ = absl::UnavailableError("not begun");
  bool direct_ = false;
  std::vector<Measure> measures_;
};

}  // namespace trapline::daemon

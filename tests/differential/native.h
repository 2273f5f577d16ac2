// SPDX-License-Identifier: Apache-2.0
// The real processor: runs instances in a child process and tells what became of them.
//
// The child never returns from its first signal handler in the ordinary way. A handler's return
// loads every register that the signal frame holds, so the handler puts an instance's state into
// the frame and returns; the instruction runs, and it or what stands behind it faults; the handler
// is entered again with the outcome in its new frame. No assembly and no tracing is needed, and
// 32-bit code costs no more than another code segment selector.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "tests/differential/instance.h"

namespace trapline::differential {

// Not thread-safe.
class NativeCpu {
 public:
  NativeCpu();
  ~NativeCpu();
  NativeCpu(const NativeCpu&) = delete;
  NativeCpu& operator=(const NativeCpu&) = delete;

  // Where the instances find memory by FS; the child keeps its own data there.
  static uint64_t FsBase();

  // At most kBatchSize instances, whose code lies in slots of their own. Returns an error message
  // if the child died or hung, which is a fault of the harness; else the outcomes, valid until the
  // next run, are in outcomes().
  std::string Run(std::span<const Instance> instances, const Background& background);
  std::span<const Outcome> outcomes() const;

 private:
  struct Shared;
  Shared* shared_;
};

}  // namespace trapline::differential

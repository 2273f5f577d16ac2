// SPDX-License-Identifier: Apache-2.0
// The MC146818 real-time clock with its CMOS memory; the time is the host's, in UTC.
#pragma once

#include <array>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace trapline::machine {

// Thread-safe. The clock raises no interrupts: enabling one is kept but does nothing.
class Rtc {
 public:
  void Reset();
  uint8_t Read(unsigned offset);
  void Write(unsigned offset, uint8_t value);

 private:
  uint8_t ReadRegisterLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  uint8_t index_ ABSL_GUARDED_BY(mutex_) = 0;
  std::array<uint8_t, 128> memory_ ABSL_GUARDED_BY(mutex_){};
};

}  // namespace trapline::machine

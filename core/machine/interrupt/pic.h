// SPDX-License-Identifier: Apache-2.0
// The pair of 8259A interrupt controllers (Intel 8259A datasheet).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace trapline::machine {

// Thread-safe. on_output is called, with the lock held, when the output to the processor rises.
class Pic {
 public:
  explicit Pic(std::function<void()> on_output) : on_output_(std::move(on_output)) {}

  void Reset();
  uint8_t Read(bool slave, unsigned offset);
  void Write(bool slave, unsigned offset, uint8_t value);
  uint8_t ReadElcr(bool slave);
  void WriteElcr(bool slave, uint8_t value);
  void SetLine(unsigned line, bool high);

  // The output to the processor. Cheap.
  bool Pending() const { return output_.load(std::memory_order_relaxed); }
  // The interrupt acknowledge cycle: the vector (a spurious one if nothing is left).
  uint8_t Acknowledge();

 private:
  struct Chip {
    uint8_t irr = 0, isr = 0, imr = 0xff, level = 0, lines = 0;
    uint8_t base = 0, priority = 0;
    unsigned init_step = 0;
    bool needs_icw4 = false, single = false, auto_eoi = false, read_isr = false,
         special_mask = false, poll = false;
    bool rotate_auto = false, fully_nested = false;
  };
  static constexpr unsigned kCascade = 2;

  int RequestLocked(const Chip& chip, bool master) const;
  void UpdateLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeLocked(Chip& chip, unsigned line);
  void CommandLocked(Chip& chip, uint8_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint8_t AcknowledgeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::function<void()> on_output_;
  absl::Mutex mutex_;
  Chip chips_[2] ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> output_{false};
};

}  // namespace trapline::machine

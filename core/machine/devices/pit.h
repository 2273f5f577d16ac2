// SPDX-License-Identifier: Apache-2.0
// The 8254 interval timer (Intel 8254 datasheet), computed from guest time instead of counted.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/vm_clock.h"
#include "core/machine/timer/timer_queue.h"

namespace trapline::machine {

// Thread-safe. set_line drives IRQ 0 and is called without the lock held.
class Pit {
 public:
  static constexpr uint64_t kHertz = 1193182;

  Pit(base::VmClock& clock, TimerQueue& timers, std::function<void(bool)> set_line);

  void Reset();
  uint8_t Read(unsigned offset);
  void Write(unsigned offset, uint8_t value);
  // Port 0x61: gate and output of channel 2, speaker, the refresh toggle.
  uint8_t ReadControlB();
  void WriteControlB(uint8_t value);

 private:
  struct Channel {
    uint8_t mode = 0, access = 3;
    bool bcd = false, gate = true, write_high = false, read_high = false;
    bool latched = false, status_latched = false, loaded = false;
    uint8_t low_byte = 0, status = 0;
    uint16_t reload = 0, next_reload = 0, latch = 0;
    bool has_next = false;   // a count that the period to come will have
    bool triggered = false;  // modes 1 and 5: the gate has risen since the count was written
    uint8_t written = 0;     // the mode as in the control word
    uint64_t start = 0;      // guest tick at which it was loaded
    uint64_t held = 0;       // ticks that it had run when the gate closed
  };
  static constexpr unsigned kChannels = 3;

  uint64_t Period(const Channel& channel) const;
  uint64_t Elapsed(const Channel& channel) const;
  bool Counting(const Channel& channel) const;
  void Settle(Channel& channel);
  uint16_t Count(const Channel& channel) const;
  bool Output(const Channel& channel) const;
  void Load(unsigned index, uint16_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ControlLocked(uint8_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ArmLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnTimer();

  base::VmClock& clock_;
  TimerQueue& timers_;
  const std::function<void(bool)> set_line_;
  TimerQueue::Id timer_;
  absl::Mutex mutex_;
  Channel channels_[kChannels] ABSL_GUARDED_BY(mutex_);
  uint8_t control_b_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// A VM's own time: it runs with the host's TSC and stands still while the VM is paused.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/cycles.h"

namespace trapline::base {

// Guest time in TSC ticks and in nanoseconds since the VM was made. One per VM; the guest's TSC,
// its timers and its kvm-clock all derive from it. Starts stopped, at zero. Thread-safe; Start and
// Stop are called by one thread at a time.
class VmClock {
 public:
  VmClock() : frequency_(HostCyclesPerSecond()) {}

  // Ticks per second.
  uint64_t frequency() const { return frequency_; }

  // Ticks of guest time so far.
  uint64_t Ticks() const { return TicksAt(HostCycles()); }
  // The same for whoever has just read the host's counter; that is not cheap.
  uint64_t TicksAt(uint64_t host_cycles) const {
    uint64_t offset = offset_.load(std::memory_order_acquire);
    return running_.load(std::memory_order_acquire) ? host_cycles - offset : offset;
  }

  // While the clock runs: the host's counter at guest tick zero.
  uint64_t offset() const { return offset_.load(std::memory_order_acquire); }

  // The same in nanoseconds.
  uint64_t Nanoseconds() const { return TicksToNanoseconds(Ticks()); }

  uint64_t TicksToNanoseconds(uint64_t ticks) const {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(ticks) * 1'000'000'000 /
                                 frequency_);
  }
  uint64_t NanosecondsToTicks(uint64_t ns) const {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(ns) * frequency_ / 1'000'000'000);
  }

  // Lets time run on from where it stands. No vCPU may be running. Idempotent.
  void Start() {
    if (running_) return;
    offset_ = HostCycles() - offset_.load();
    running_ = true;
  }
  // Makes time stand still. No vCPU may be running. Idempotent.
  void Stop() {
    if (!running_) return;
    uint64_t now = HostCycles() - offset_.load();
    running_ = false;
    offset_ = now;
  }
  bool running() const { return running_.load(); }

 private:
  const uint64_t frequency_;
  std::atomic<bool> running_{false};
  // Running: host TSC at guest tick zero. Stopped: the guest tick at which it stopped.
  std::atomic<uint64_t> offset_{0};
};

}  // namespace trapline::base

// SPDX-License-Identifier: Apache-2.0
// The I/O APIC: 24 pins, a redirection entry each (Intel 82093AA datasheet).
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/machine/interrupt/local_apic.h"

namespace trapline::machine {

// Thread-safe. deliver is called with the I/O APIC's lock held.
class IoApic {
 public:
  static constexpr unsigned kPins = 24;

  explicit IoApic(std::function<void(const InterruptMessage&)> deliver);

  void Reset();
  uint32_t Read(uint32_t offset);
  void Write(uint32_t offset, uint32_t value);
  // The level of an input pin, before polarity.
  void SetPin(unsigned pin, bool high);
  // A level-triggered interrupt with this vector was ended.
  void EndOfInterrupt(uint8_t vector);

 private:
  void ServeLocked(unsigned pin) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint32_t ReadRegisterLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteRegisterLocked(uint32_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::function<void(const InterruptMessage&)> deliver_;
  absl::Mutex mutex_;
  uint32_t select_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::array<uint64_t, kPins> entries_ ABSL_GUARDED_BY(mutex_);
  std::array<bool, kPins> high_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::machine

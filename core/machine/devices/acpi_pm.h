// SPDX-License-Identifier: Apache-2.0
// ACPI fixed hardware: PM1 event and control registers and the power-management timer (ACPI 6.4,
// section 4.8).
#pragma once

#include <cstdint>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/vm_clock.h"

namespace trapline::machine {

// Thread-safe; the callbacks are called without the lock held.
class AcpiPm {
 public:
  static constexpr uint64_t kTimerHertz = 3579545;

  AcpiPm(base::VmClock& clock, std::function<void(bool)> set_sci,
         std::function<void()> on_power_off);

  void Reset();
  // offset from layout::kPm1Event; size 1, 2 or 4.
  uint32_t Read(unsigned offset, unsigned size);
  void Write(unsigned offset, unsigned size, uint32_t value);
  // Presses the power button.
  void PowerButton();

 private:
  void Drive();

  base::VmClock& clock_;
  const std::function<void(bool)> set_sci_;
  const std::function<void()> on_power_off_;
  // Orders changes of the line; taken before mutex_.
  absl::Mutex line_mutex_;
  absl::Mutex mutex_;
  uint16_t status_ ABSL_GUARDED_BY(mutex_) = 0, enable_ ABSL_GUARDED_BY(mutex_) = 0;
  uint16_t control_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace trapline::machine

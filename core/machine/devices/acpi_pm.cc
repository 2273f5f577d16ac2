// SPDX-License-Identifier: Apache-2.0
// The PM1 registers.
#include "core/machine/devices/acpi_pm.h"

#include <utility>

#include "core/base/checked.h"
#include "core/machine/platform/layout.h"

namespace trapline::machine {
namespace {

constexpr unsigned kStatus = 0, kEnable = 2, kControl = layout::kPm1Control - layout::kPm1Event,
                   kTimer = layout::kPmTimer - layout::kPm1Event;
constexpr uint16_t kPowerButton = 1 << 8;
constexpr uint16_t kSciEnable = 1, kSleepEnable = 1 << 13;
constexpr unsigned kSleepTypeShift = 10;

}  // namespace

AcpiPm::AcpiPm(base::VmClock& clock, std::function<void(bool)> set_sci,
               std::function<void()> on_power_off)
    : clock_(clock), set_sci_(std::move(set_sci)), on_power_off_(std::move(on_power_off)) {}

void AcpiPm::Reset() {
  {
    absl::MutexLock lock(&mutex_);
    status_ = enable_ = 0;
    control_ = kSciEnable;  // there is no legacy mode to leave
  }
  Drive();
}

void AcpiPm::Drive() {
  absl::MutexLock order(&line_mutex_);
  bool high;
  {
    absl::MutexLock lock(&mutex_);
    high = (status_ & enable_) != 0;
  }
  set_sci_(high);
}

uint32_t AcpiPm::Read(unsigned offset, unsigned size) {
  absl::MutexLock lock(&mutex_);
  uint32_t word = 0;
  switch (offset & ~1u) {
    case kStatus:
      word = status_ | static_cast<uint32_t>(enable_) << 16;
      break;
    case kEnable:
      word = enable_;
      break;
    case kControl:
      word = control_;
      break;
    default:
      if (offset >= kTimer && offset < kTimer + 4) {
        word = static_cast<uint32_t>(
                   base::MultiplyDivide(clock_.Ticks(), kTimerHertz, clock_.frequency())) >>
               (8 * (offset - kTimer) & ~15u);
      }
  }
  if (offset & 1) word >>= 8;
  return size == 4 ? word : word & ((1u << (8 * size)) - 1);
}

void AcpiPm::Write(unsigned offset, unsigned size, uint32_t value) {
  bool off = false;
  {
    absl::MutexLock lock(&mutex_);
    // A byte write concerns that byte only.
    uint32_t mask = size >= 2 ? 0xffff : 0xff;
    unsigned shift = offset & 1 ? 8 : 0;
    auto merged = [&](uint16_t old) {
      return static_cast<uint16_t>((old & ~(mask << shift)) | ((value & mask) << shift));
    };
    switch (offset & ~1u) {
      case kStatus:
        status_ &= static_cast<uint16_t>(~((value & mask) << shift));
        if (size == 4) enable_ = static_cast<uint16_t>(value >> 16);
        break;
      case kEnable:
        enable_ = merged(enable_);
        break;
      case kControl: {
        uint16_t written = merged(control_);
        off =
            (written & kSleepEnable) && ((written >> kSleepTypeShift) & 7) == layout::kS5SleepType;
        control_ = static_cast<uint16_t>((written & ~kSleepEnable) | kSciEnable);
        break;
      }
    }
  }
  Drive();
  if (off) on_power_off_();
}

void AcpiPm::PowerButton() {
  {
    absl::MutexLock lock(&mutex_);
    status_ |= kPowerButton;
  }
  Drive();
}

}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// Clock registers from the host's time.
#include "core/machine/devices/rtc.h"

#include <time.h>

namespace trapline::machine {
namespace {

constexpr uint8_t kSeconds = 0, kMinutes = 2, kHours = 4, kWeekday = 6, kDay = 7, kMonth = 8,
                  kYear = 9, kA = 0x0a, kB = 0x0b, kC = 0x0c, kD = 0x0d, kCentury = 0x32;
constexpr uint8_t kAValue = 0x26, kAfternoon = 0x80, kB24Hour = 2, kBBinary = 4, kDValid = 0x80;

}  // namespace

void Rtc::Reset() {
  absl::MutexLock lock(&mutex_);
  index_ = 0;
  memory_.fill(0);
  memory_[kA] = kAValue;
  memory_[kB] = kB24Hour;
}

uint8_t Rtc::Read(unsigned offset) {
  absl::MutexLock lock(&mutex_);
  return offset == 0 ? index_ : ReadRegisterLocked();
}

void Rtc::Write(unsigned offset, uint8_t value) {
  absl::MutexLock lock(&mutex_);
  if (offset == 0) {
    index_ = value & 0x7f;
  } else if (index_ != kC && index_ != kD) {
    memory_[index_] = value;
  }
}

uint8_t Rtc::ReadRegisterLocked() const {
  time_t now = time(nullptr);
  tm utc;
  gmtime_r(&now, &utc);
  int value;
  uint8_t flag = 0;
  switch (index_) {
    case kSeconds:
      value = utc.tm_sec;
      break;
    case kMinutes:
      value = utc.tm_min;
      break;
    case kHours:
      value = utc.tm_hour;
      if (!(memory_[kB] & kB24Hour)) {
        if (value >= 12) flag = kAfternoon;
        value = value % 12 == 0 ? 12 : value % 12;
      }
      break;
    case kWeekday:
      value = utc.tm_wday + 1;
      break;
    case kDay:
      value = utc.tm_mday;
      break;
    case kMonth:
      value = utc.tm_mon + 1;
      break;
    case kYear:
      value = utc.tm_year % 100;
      break;
    case kCentury:
      value = 19 + utc.tm_year / 100;
      break;
    case kA:
      return memory_[kA] & 0x7f;  // never in the middle of an update
    case kC:
      return 0;
    case kD:
      return kDValid;
    default:
      return memory_[index_];
  }
  return static_cast<uint8_t>(flag |
                              (memory_[kB] & kBBinary ? value : value / 10 << 4 | value % 10));
}

}  // namespace trapline::machine

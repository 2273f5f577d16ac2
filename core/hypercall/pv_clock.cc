// SPDX-License-Identifier: Apache-2.0
// Guest time is a linear function of the guest's TSC for the VM's whole life, so the structures
// that tell it are written once. Steal time grows; who reads it is the processor whose thread
// writes it, so nobody sees half of it and its version just grows too.
#include "core/hypercall/pv_clock.h"

#include <time.h>

namespace trapline::hypercall {
namespace {

constexpr uint32_t kWallClockOld = 0x11, kSystemTimeOld = 0x12, kWallClock = 0x4b564d00,
                   kSystemTime = 0x4b564d01, kStealTime = 0x4b564d03;
constexpr uint64_t kEnabled = 1;
constexpr uint64_t kStealReserved = 0x3e;
constexpr uint8_t kTscStable = 1;

// struct pvclock_vcpu_time_info
struct SystemTime {
  uint32_t version, padding;
  uint64_t tsc_timestamp, system_time;
  uint32_t tsc_to_system_mul;
  int8_t tsc_shift;
  uint8_t flags, padding2[2];
};
static_assert(sizeof(SystemTime) == 32);

// struct pvclock_wall_clock
struct WallClock {
  uint32_t version, seconds, nanoseconds;
};

// struct kvm_steal_time
struct StealTime {
  uint64_t steal;
  uint32_t version, flags;
  uint8_t preempted, padding[47];
};
static_assert(sizeof(StealTime) == 64);

// nanoseconds = ((ticks << shift) * multiplier) >> 32, with a negative shift to the right.
void Scale(uint64_t frequency, uint32_t* multiplier, int8_t* shift) {
  constexpr uint64_t kBillion = 1'000'000'000;
  int s = 0;
  while ((frequency >> (s < 0 ? -s : 0)) > 2 * kBillion) --s;
  uint64_t scaled = frequency >> -s;
  while (scaled <= kBillion) {
    scaled <<= 1;
    ++s;
  }
  *shift = static_cast<int8_t>(s);
  *multiplier = static_cast<uint32_t>((kBillion << 32) / scaled);
}

template <typename T>
bool Write(ServiceHost& host, uint64_t gpa, const T& value) {
  return host.WriteGuest(gpa, std::as_bytes(std::span(&value, 1)));
}

}  // namespace

bool PvClock::WriteSystemTime(uint64_t gpa) {
  SystemTime time{.version = 2,
                  .padding = 0,
                  .tsc_timestamp = 0,
                  .system_time = 0,
                  .tsc_to_system_mul = 0,
                  .tsc_shift = 0,
                  .flags = kTscStable,
                  .padding2 = {}};
  Scale(frequency_, &time.tsc_to_system_mul, &time.tsc_shift);
  return Write(host_, gpa, time);
}

bool PvClock::WriteWallClock(uint64_t gpa) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  constexpr uint64_t kBillion = 1'000'000'000;
  uint64_t boot = static_cast<uint64_t>(now.tv_sec) * kBillion +
                  static_cast<uint64_t>(now.tv_nsec) - host_.Nanoseconds();
  return Write(
      host_, gpa,
      WallClock{2, static_cast<uint32_t>(boot / kBillion), static_cast<uint32_t>(boot % kBillion)});
}

bool PvClock::WriteStealTime(uint64_t gpa) {
  StealTime time{};
  time.steal = stolen_;
  time.version = steal_version_ += 2;
  return Write(host_, gpa, time);
}

void PvClock::UpdateStealTime(uint64_t nanoseconds) {
  if (nanoseconds == stolen_) return;
  stolen_ = nanoseconds;
  if (WantsStealTime()) WriteStealTime(steal_time_ & ~kEnabled);
}

bool PvClock::ReadMsr(uint32_t index, uint64_t* value) const {
  switch (index) {
    case kWallClockOld:
    case kWallClock:
      *value = wall_clock_;
      return true;
    case kSystemTimeOld:
    case kSystemTime:
      *value = system_time_;
      return true;
    case kStealTime:
      *value = steal_time_;
      return true;
    default:
      return false;
  }
}

bool PvClock::WriteMsr(uint32_t index, uint64_t value) {
  bool enabled = value & kEnabled;
  switch (index) {
    case kWallClockOld:
    case kWallClock:
      if (!WriteWallClock(value)) return false;
      wall_clock_ = value;
      return true;
    case kSystemTimeOld:
    case kSystemTime:
      if (enabled && !WriteSystemTime(value & ~kEnabled)) return false;
      system_time_ = value;
      return true;
    case kStealTime:
      if (value & kStealReserved) return false;
      if (enabled && !WriteStealTime(value & ~kEnabled)) return false;
      steal_time_ = value;
      return true;
    default:
      return false;
  }
}

}  // namespace trapline::hypercall

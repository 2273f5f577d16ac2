// SPDX-License-Identifier: Apache-2.0
// Counter values and outputs as functions of the time since the load.
#include "core/machine/devices/pit.h"

#include <utility>

#include "core/base/checked.h"

namespace trapline::machine {
namespace {

constexpr uint32_t kFullCount = 0x10000;

bool Periodic(uint8_t mode) { return mode == 2 || mode == 3; }

}  // namespace

Pit::Pit(base::VmClock& clock, TimerQueue& timers, std::function<void(bool)> set_line)
    : clock_(clock),
      timers_(timers),
      set_line_(std::move(set_line)),
      timer_(timers.Add([this] { OnTimer(); })) {}

void Pit::Reset() {
  absl::MutexLock lock(&mutex_);
  for (Channel& channel : channels_) channel = Channel();
  channels_[2].gate = false;
  control_b_ = 0;
  timers_.Disarm(timer_);
}

// Counts from load to the end.
uint64_t Pit::Period(const Channel& channel) const {
  return channel.reload ? channel.reload : kFullCount;
}

uint64_t Pit::Elapsed(const Channel& channel) const {
  return base::MultiplyDivide(clock_.Ticks() - channel.start, kHertz, clock_.frequency());
}

uint16_t Pit::Count(const Channel& channel) const {
  if (!channel.loaded) return 0;
  uint64_t period = Period(channel), elapsed = Elapsed(channel);
  switch (channel.mode) {
    case 2:
      return static_cast<uint16_t>(period - elapsed % period);
    case 3:
      return static_cast<uint16_t>(period - (2 * elapsed) % period);
    default:
      return static_cast<uint16_t>(period - elapsed);
  }
}

bool Pit::Output(const Channel& channel) const {
  if (!channel.loaded) return channel.mode != 0;
  uint64_t period = Period(channel), elapsed = Elapsed(channel);
  switch (channel.mode) {
    case 0:
    case 1:
      return elapsed >= period;
    case 2:
      return elapsed % period != period - 1;
    case 3:
      return elapsed % period < (period + 1) / 2;
    default:
      return elapsed != period;
  }
}

uint8_t Pit::Read(unsigned offset) {
  absl::MutexLock lock(&mutex_);
  if (offset >= kChannels) return 0xff;
  Channel& channel = channels_[offset];
  if (channel.status_latched) {
    channel.status_latched = false;
    return channel.status;
  }
  uint16_t count = channel.latched ? channel.latch : Count(channel);
  bool high = channel.access == 2 || (channel.access == 3 && channel.read_high);
  if (channel.access == 3) channel.read_high = !channel.read_high;
  if (channel.access != 3 || high) channel.latched = false;
  return static_cast<uint8_t>(high ? count >> 8 : count);
}

void Pit::Write(unsigned offset, uint8_t value) {
  absl::MutexLock lock(&mutex_);
  if (offset >= kChannels) {
    ControlLocked(value);
    return;
  }
  Channel& channel = channels_[offset];
  switch (channel.access) {
    case 1:
      Load(offset, value);
      break;
    case 2:
      Load(offset, static_cast<uint16_t>(value << 8));
      break;
    default:
      if (channel.write_high) {
        Load(offset, static_cast<uint16_t>(channel.low_byte | value << 8));
      } else {
        channel.low_byte = value;
      }
      channel.write_high = !channel.write_high;
  }
}

void Pit::ControlLocked(uint8_t value) {
  unsigned select = value >> 6;
  if (select == 3) {  // read-back
    for (unsigned i = 0; i < kChannels; ++i) {
      Channel& channel = channels_[i];
      if (!(value & (2 << i))) continue;
      if (!(value & 0x20) && !channel.latched) {
        channel.latch = Count(channel);
        channel.latched = true;
      }
      if (!(value & 0x10)) {
        channel.status =
            static_cast<uint8_t>((Output(channel) ? 0x80 : 0) | (channel.loaded ? 0 : 0x40) |
                                 channel.access << 4 | channel.mode << 1 | (channel.bcd ? 1 : 0));
        channel.status_latched = true;
      }
    }
    return;
  }
  Channel& channel = channels_[select];
  unsigned access = (value >> 4) & 3;
  if (access == 0) {
    channel.latch = Count(channel);
    channel.latched = true;
    return;
  }
  bool gate = channel.gate;
  channel = Channel();
  channel.gate = gate;
  channel.access = static_cast<uint8_t>(access);
  channel.mode = (value >> 1) & 7;
  if (channel.mode > 5) channel.mode &= 3;
  channel.bcd = value & 1;
  if (select == 0) timers_.Disarm(timer_);
}

void Pit::Load(unsigned index, uint16_t value) {
  Channel& channel = channels_[index];
  channel.reload = value;
  channel.loaded = true;
  channel.start = clock_.Ticks();
  if (index == 0) ArmLocked();
}

void Pit::ArmLocked() {
  const Channel& channel = channels_[0];
  uint64_t period = Period(channel), elapsed = Elapsed(channel);
  uint64_t next = Periodic(channel.mode) ? (elapsed / period + 1) * period : period;
  timers_.Arm(timer_, channel.start + base::MultiplyDivide(next, clock_.frequency(), kHertz) + 1);
}

void Pit::OnTimer() {
  {
    absl::MutexLock lock(&mutex_);
    if (!channels_[0].loaded) return;
    if (Periodic(channels_[0].mode)) ArmLocked();
  }
  // An edge is what both interrupt controllers want of this line.
  set_line_(false);
  set_line_(true);
}

uint8_t Pit::ReadControlB() {
  absl::MutexLock lock(&mutex_);
  uint8_t refresh = clock_.Nanoseconds() / 15'000 % 2 ? 0x10 : 0;
  return static_cast<uint8_t>(control_b_ | (Output(channels_[2]) ? 0x20 : 0) | refresh);
}

void Pit::WriteControlB(uint8_t value) {
  absl::MutexLock lock(&mutex_);
  bool gate = value & 1;
  Channel& channel = channels_[2];
  if (gate && !channel.gate) channel.start = clock_.Ticks();
  channel.gate = gate;
  control_b_ = value & 3;
}

}  // namespace trapline::machine

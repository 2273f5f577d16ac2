// SPDX-License-Identifier: Apache-2.0
// Counter values and outputs as functions of the time since the load.
#include "core/machine/devices/pit.h"

#include <utility>

#include "core/base/checked.h"

namespace trapline::machine {
namespace {

constexpr uint32_t kFullCount = 0x10000;

constexpr uint32_t kFullDecimal = 10000;

bool Periodic(uint8_t mode) { return mode == 2 || mode == 3; }
bool ByTrigger(uint8_t mode) { return mode == 1 || mode == 5; }

uint32_t FromDecimal(uint16_t digits) {
  return (digits >> 12) * 1000u + (digits >> 8 & 0xf) * 100u + (digits >> 4 & 0xf) * 10u +
         (digits & 0xf);
}
uint16_t ToDecimal(uint64_t n) {
  n %= kFullDecimal;
  return static_cast<uint16_t>(n / 1000 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10);
}

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
  if (channel.bcd) return channel.reload ? FromDecimal(channel.reload) : kFullDecimal;
  return channel.reload ? channel.reload : kFullCount;
}

uint64_t Pit::Elapsed(const Channel& channel) const {
  uint64_t ticks = Counting(channel) ? clock_.Ticks() - channel.start : channel.held;
  return base::MultiplyDivide(ticks, kHertz, clock_.frequency());
}

bool Pit::Counting(const Channel& channel) const {
  return ByTrigger(channel.mode) ? channel.triggered : channel.gate;
}

// A count that was written in the middle of a period begins with the next.
void Pit::Settle(Channel& channel) {
  if (!channel.has_next || Elapsed(channel) < Period(channel)) return;
  channel.start += base::MultiplyDivide(Period(channel), clock_.frequency(), kHertz);
  channel.reload = channel.next_reload;
  channel.has_next = false;
}

uint16_t Pit::Count(const Channel& channel) const {
  if (!channel.loaded) return 0;
  uint64_t period = Period(channel), elapsed = Elapsed(channel), count;
  uint64_t place = elapsed % period, half = (period + 1) / 2;
  switch (channel.mode) {
    case 2:
      count = period - place;
      break;
    case 3:  // an odd count is loaded less one, and lasts one clock longer in the
             // first half
      count = (period & ~uint64_t{1}) - 2 * (place < half ? place : place - half);
      break;
    default:
      count = (channel.bcd ? kFullDecimal : kFullCount) + period;
      count -= elapsed % (channel.bcd ? kFullDecimal : kFullCount);
  }
  return channel.bcd ? ToDecimal(count) : static_cast<uint16_t>(count);
}

bool Pit::Output(const Channel& channel) const {
  if (!channel.loaded) return channel.mode != 0;
  if (channel.mode != 0 && channel.mode != 4 && !Counting(channel)) return true;
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
  Settle(channel);
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
        if (channel.mode == 0) channel.loaded = false;  // it stops, and its output falls
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
      Settle(channel);
      if (!(value & 0x20) && !channel.latched) {
        channel.latch = Count(channel);
        channel.latched = true;
      }
      if (!(value & 0x10) && !channel.status_latched) {
        channel.status = static_cast<uint8_t>((Output(channel) ? 0x80 : 0) |
                                              (channel.loaded && !channel.has_next ? 0 : 0x40) |
                                              channel.written);
        channel.status_latched = true;
      }
    }
    return;
  }
  Channel& channel = channels_[select];
  unsigned access = (value >> 4) & 3;
  if (access == 0) {
    if (channel.latched) return;  // until it is read
    Settle(channel);
    channel.latch = Count(channel);
    channel.latched = true;
    return;
  }
  bool gate = channel.gate;
  channel = Channel();
  channel.gate = gate;
  channel.access = static_cast<uint8_t>(access);
  channel.written = value & 0x3f;
  channel.mode = (value >> 1) & 7;
  if (channel.mode > 5) channel.mode &= 3;
  channel.bcd = value & 1;
  if (select == 0) timers_.Disarm(timer_);
}

void Pit::Load(unsigned index, uint16_t value) {
  Channel& channel = channels_[index];
  if (channel.loaded && Periodic(channel.mode) && channel.gate) {
    Settle(channel);
    channel.next_reload = value;
    channel.has_next = true;
    return;
  }
  channel.reload = value;
  channel.loaded = true;
  channel.held = 0;
  channel.start = clock_.Ticks();
  if (index == 0) ArmLocked();
}

void Pit::ArmLocked() {
  Channel& channel = channels_[0];
  Settle(channel);
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
  Settle(channels_[2]);
  uint8_t refresh = clock_.Nanoseconds() / 15'000 % 2 ? 0x10 : 0;
  return static_cast<uint8_t>(control_b_ | (Output(channels_[2]) ? 0x20 : 0) | refresh);
}

void Pit::WriteControlB(uint8_t value) {
  absl::MutexLock lock(&mutex_);
  bool gate = value & 1;
  Channel& channel = channels_[2];
  Settle(channel);
  uint64_t now = clock_.Ticks();
  if (gate && !channel.gate) {  // modes 0 and 4 go on, the others start again
    channel.start = channel.mode == 0 || channel.mode == 4 ? now - channel.held : now;
    channel.triggered = true;
    if (channel.has_next) channel.reload = channel.next_reload;
    channel.has_next = false;
  } else if (!gate && channel.gate) {
    channel.held = now - channel.start;
  }
  channel.gate = gate;
  control_b_ = value & 3;
}

}  // namespace trapline::machine

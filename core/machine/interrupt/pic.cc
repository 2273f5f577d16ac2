// SPDX-License-Identifier: Apache-2.0
// Initialisation and operation command words, priorities, the cascade.
#include "core/machine/interrupt/pic.h"

namespace trapline::machine {
namespace {

constexpr unsigned kSpurious = 7;

}  // namespace

void Pic::Reset() {
  absl::MutexLock lock(&mutex_);
  for (Chip& chip : chips_) chip = Chip();
  output_ = false;
}

// The line that asks with the highest priority above what is in service, or -1.
int Pic::RequestLocked(const Chip& chip, bool master) const {
  uint8_t asking = chip.irr & ~chip.imr;
  for (unsigned i = 0; i < 8; ++i) {
    unsigned line = (chip.priority + i) & 7;
    uint8_t bit = static_cast<uint8_t>(1 << line);
    bool holds = chip.isr & bit;
    if (chip.special_mask && (chip.imr & bit)) holds = false;
    if (master && chip.fully_nested && line == kCascade) holds = false;
    if (holds) return -1;  // its own line too, until it is ended
    if (asking & bit) return static_cast<int>(line);
  }
  return -1;
}

void Pic::UpdateLocked() {
  bool cascade = RequestLocked(chips_[1], false) >= 0;
  Chip& master = chips_[0];
  if (cascade) {
    master.irr |= 1 << kCascade;
  } else {
    master.irr &= ~(1 << kCascade);
  }
  bool output = RequestLocked(master, true) >= 0;
  if (!output_.exchange(output) && output) on_output_();
}

void Pic::SetLine(unsigned line, bool high) {
  absl::MutexLock lock(&mutex_);
  Chip& chip = chips_[line / 8];
  auto bit = static_cast<uint8_t>(1 << (line % 8));
  bool level = chip.level & bit;
  if (high) {
    if (level || !(chip.lines & bit)) chip.irr |= bit;
    chip.lines |= bit;
  } else {
    // An edge that was seen stays a request, as processors' virtual platforms have it; a level is
    // one only while it lasts.
    if (level) chip.irr &= ~bit;
    chip.lines &= ~bit;
  }
  UpdateLocked();
}

void Pic::TakeLocked(Chip& chip, unsigned line) {
  auto bit = static_cast<uint8_t>(1 << line);
  if (!(chip.level & bit)) chip.irr &= ~bit;
  if (chip.auto_eoi) {
    if (chip.rotate_auto) chip.priority = (line + 1) & 7;
  } else {
    chip.isr |= bit;
  }
}

uint8_t Pic::Acknowledge() {
  absl::MutexLock lock(&mutex_);
  return AcknowledgeLocked();
}

uint8_t Pic::AcknowledgeLocked() {
  Chip& master = chips_[0];
  int line = RequestLocked(master, true);
  if (line < 0) return master.base + kSpurious;
  TakeLocked(master, static_cast<unsigned>(line));
  uint8_t vector = static_cast<uint8_t>(master.base + line);
  if (line == kCascade) {
    Chip& slave = chips_[1];
    int inner = RequestLocked(slave, false);
    if (inner < 0) {
      vector = slave.base + kSpurious;
    } else {
      TakeLocked(slave, static_cast<unsigned>(inner));
      vector = static_cast<uint8_t>(slave.base + inner);
    }
  }
  output_ = false;
  UpdateLocked();
  return vector;
}

uint8_t Pic::Read(bool slave, unsigned offset) {
  absl::MutexLock lock(&mutex_);
  Chip& chip = chips_[slave];
  if (chip.poll) {
    chip.poll = false;
    int line = RequestLocked(chip, !slave);
    if (line < 0) return 0;
    TakeLocked(chip, static_cast<unsigned>(line));
    UpdateLocked();
    return static_cast<uint8_t>(0x80 | line);
  }
  if (offset == 1) return chip.imr;
  return chip.read_isr ? chip.isr : chip.irr;
}

void Pic::Write(bool slave, unsigned offset, uint8_t value) {
  absl::MutexLock lock(&mutex_);
  Chip& chip = chips_[slave];
  if (offset == 0) {
    CommandLocked(chip, value);
  } else {
    switch (chip.init_step) {
      case 0:
        chip.imr = value;
        break;
      case 1:
        chip.base = value & 0xf8;
        chip.init_step = chip.single ? (chip.needs_icw4 ? 3 : 0) : 2;
        break;
      case 2:
        chip.init_step = chip.needs_icw4 ? 3 : 0;
        break;
      default:
        chip.fully_nested = value & 0x10;
        chip.auto_eoi = value & 2;
        chip.init_step = 0;
    }
  }
  UpdateLocked();
}

void Pic::CommandLocked(Chip& chip, uint8_t value) {
  if (value & 0x10) {  // ICW1
    uint8_t level = chip.level, lines = chip.lines;
    chip = Chip();
    chip.level = level;
    chip.lines = lines;
    chip.irr = lines & level;
    chip.imr = 0;
    chip.init_step = 1;
    chip.needs_icw4 = value & 1;
    chip.single = value & 2;
    return;
  }
  if (value & 0x08) {  // OCW3
    if (value & 2) chip.read_isr = value & 1;
    if (value & 4) chip.poll = true;
    if (value & 0x40) chip.special_mask = value & 0x20;
    return;
  }
  // OCW2: rotate, specific, end of interrupt.
  bool rotate = value & 0x80, specific = value & 0x40, end = value & 0x20;
  unsigned line = value & 7;
  if (end) {
    if (!specific) {
      // What special mask mode has masked is not ended by this.
      uint8_t ending = chip.isr & (chip.special_mask ? ~chip.imr : 0xff);
      for (unsigned i = 0; i < 8; ++i) {
        line = (chip.priority + i) & 7;
        if (ending & (1 << line)) break;
      }
      if (!ending) return;
    }
    chip.isr &= ~(1 << line);
    if (rotate) chip.priority = (line + 1) & 7;
  } else if (specific && rotate) {
    chip.priority = (line + 1) & 7;
  } else if (!specific) {
    chip.rotate_auto = rotate;
  }
}

uint8_t Pic::ReadElcr(bool slave) {
  absl::MutexLock lock(&mutex_);
  return chips_[slave].level;
}

void Pic::WriteElcr(bool slave, uint8_t value) {
  absl::MutexLock lock(&mutex_);
  // The timer, the keyboard, the cascade and the clock are edge-triggered for good.
  Chip& chip = chips_[slave];
  chip.level = value & (slave ? 0xde : 0xf8);
  chip.irr |= chip.lines & chip.level;
  UpdateLocked();
}

}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// Redirection entries and their delivery.
#include "core/machine/interrupt/io_apic.h"

#include <utility>

namespace trapline::machine {
namespace {

constexpr uint32_t kSelect = 0x00, kWindow = 0x10, kEoi = 0x40;
constexpr uint32_t kRegisterId = 0, kRegisterVersion = 1, kRegisterArbitration = 2,
                   kRegisterEntries = 0x10;
constexpr uint32_t kVersion = 0x20 | (IoApic::kPins - 1) << 16;
constexpr uint64_t kLogical = 1u << 11, kRemoteIrr = 1u << 14, kLevel = 1u << 15,
                   kMasked = 1u << 16;
constexpr uint64_t kReadOnly = (1u << 12) | kRemoteIrr;

}  // namespace

IoApic::IoApic(std::function<void(const InterruptMessage&)> deliver)
    : deliver_(std::move(deliver)) {
  Reset();
}

void IoApic::Reset() {
  absl::MutexLock lock(&mutex_);
  select_ = id_ = 0;
  entries_.fill(kMasked);
  high_.fill(false);
}

uint32_t IoApic::Read(uint32_t offset) {
  absl::MutexLock lock(&mutex_);
  if (offset == kSelect) return select_;
  return offset == kWindow ? ReadRegisterLocked() : 0;
}

void IoApic::Write(uint32_t offset, uint32_t value) {
  if (offset == kEoi) {
    EndOfInterrupt(static_cast<uint8_t>(value));
    return;
  }
  absl::MutexLock lock(&mutex_);
  if (offset == kSelect) select_ = value & 0xff;
  if (offset == kWindow) WriteRegisterLocked(value);
}

uint32_t IoApic::ReadRegisterLocked() const {
  switch (select_) {
    case kRegisterId:
    case kRegisterArbitration:
      return id_;
    case kRegisterVersion:
      return kVersion;
  }
  uint32_t pin = (select_ - kRegisterEntries) / 2;
  if (select_ < kRegisterEntries || pin >= kPins) return 0;
  return static_cast<uint32_t>(entries_[pin] >> (select_ & 1 ? 32 : 0));
}

void IoApic::WriteRegisterLocked(uint32_t value) {
  if (select_ == kRegisterId) id_ = value & 0x0f000000;
  uint32_t pin = (select_ - kRegisterEntries) / 2;
  if (select_ < kRegisterEntries || pin >= kPins) return;
  uint64_t& entry = entries_[pin];
  if (select_ & 1) {
    entry = (entry & 0xffffffff) | static_cast<uint64_t>(value) << 32;
  } else {
    entry = (entry & ~uint64_t{0xffffffff}) | (entry & kReadOnly) | (value & ~kReadOnly & 0x1ffff);
    if (!(entry & kLevel)) entry &= ~kRemoteIrr;
  }
  if ((entry & kLevel) && high_[pin]) ServeLocked(pin);
}

void IoApic::SetPin(unsigned pin, bool high) {
  absl::MutexLock lock(&mutex_);
  if (pin >= kPins) return;
  bool rose = high && !high_[pin];
  high_[pin] = high;
  if (entries_[pin] & kLevel ? high : rose) ServeLocked(pin);
}

void IoApic::ServeLocked(unsigned pin) {
  uint64_t& entry = entries_[pin];
  if (entry & kMasked) return;
  bool level = entry & kLevel;
  if (level && (entry & kRemoteIrr)) return;
  if (level) entry |= kRemoteIrr;
  deliver_({.destination = static_cast<uint32_t>(entry >> 56),
            .logical = (entry & kLogical) != 0,
            .mode = static_cast<DeliveryMode>((entry >> 8) & 7),
            .vector = static_cast<uint8_t>(entry),
            .level = level});
}

void IoApic::EndOfInterrupt(uint8_t vector) {
  absl::MutexLock lock(&mutex_);
  for (unsigned pin = 0; pin < kPins; ++pin) {
    uint64_t& entry = entries_[pin];
    if (!(entry & kLevel) || static_cast<uint8_t>(entry) != vector) continue;
    entry &= ~kRemoteIrr;
    if (high_[pin]) ServeLocked(pin);
  }
}

}  // namespace trapline::machine

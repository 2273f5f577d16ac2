// SPDX-License-Identifier: Apache-2.0
// Local APIC registers, priorities and timer.
#include "core/machine/interrupt/local_apic.h"

#include <algorithm>
#include <utility>

#include "core/base/checked.h"
#include "core/machine/platform/layout.h"

namespace trapline::machine {
namespace {

// Registers by number: offset in the page / 16, MSR - 0x800.
constexpr uint32_t kId = 0x02, kVersion = 0x03, kTpr = 0x08, kApr = 0x09, kPpr = 0x0a, kEoi = 0x0b,
                   kLdr = 0x0d, kDfr = 0x0e, kSvr = 0x0f, kIsr = 0x10, kTmr = 0x18, kIrr = 0x20,
                   kEsr = 0x28, kIcrLow = 0x30, kIcrHigh = 0x31, kLvtTimer = 0x32, kLvtError = 0x37,
                   kInitialCount = 0x38, kCurrentCount = 0x39, kDivide = 0x3e, kSelfIpi = 0x3f;
constexpr uint32_t kMsrBase = 0x800, kMsrEnd = 0x900, kMsrApicBase = 0x1b, kMsrTscDeadline = 0x6e0;
constexpr uint32_t kVersionValue =
    0x14 | 5 << 16;  // integrated, six entries in the local vector table
constexpr uint32_t kMasked = 1 << 16;
constexpr uint32_t kEsrReceiveIllegal = 1 << 6, kEsrSendIllegal = 1 << 5,
                   kEsrIllegalRegister = 1 << 7;
// The timer counts at 1 GHz of guest time, divided by the divide register.
constexpr uint64_t kNsPerCount = 1;
constexpr unsigned kOneShot = 0, kPeriodic = 1, kDeadline = 2;
constexpr uint64_t kBaseAddressMask = 0xfffffff000;

// What of an entry of the local vector table can be written.
constexpr uint32_t kLvtWritable[] = {0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};

// Which MSRs of x2APIC mode can be read: volume 3, table 10-6.
bool ReadableInX2apic(uint32_t number) {
  switch (number) {
    case kId:
    case kVersion:
    case kTpr:
    case kPpr:
    case kLdr:
    case kSvr:
    case kEsr:
    case kIcrLow:
    case kInitialCount:
    case kCurrentCount:
    case kDivide:
      return true;
    default:
      return (number >= kIsr && number < kIrr + 8) || (number >= kLvtTimer && number <= kLvtError);
  }
}

}  // namespace

LocalApic::LocalApic(uint32_t id, bool boot_processor, base::VmClock& clock, TimerQueue& timers,
                     LocalApicHost host)
    : id_(id),
      boot_processor_(boot_processor),
      clock_(clock),
      timers_(timers),
      host_(std::move(host)),
      timer_(timers.Add([this] { OnTimer(); })) {
  Reset();
}

void LocalApic::Reset() {
  base_ = layout::kLocalApicBase | kEnable | (boot_processor_ ? kBoot : 0);
  xapic_id_ = id_ << 24;
  ResetRegisters();
  tpr_ = 0;
}

void LocalApic::Init() { ResetRegisters(); }

void LocalApic::ResetRegisters() {
  timers_.Disarm(timer_);
  for (auto* bits : {&irr_, &isr_, &tmr_}) {
    for (auto& word : *bits) word = 0;
  }
  for (auto& entry : lvt_) entry = kMasked;
  svr_ = 0xff;
  ldr_ = 0;
  dfr_ = 0xffffffff;
  tpr_ = 0;
  nmi_ = 0;
  esr_ = 0;
  pending_esr_ = 0;
  icr_ = 0;
  initial_count_ = divide_ = 0;
  deadline_ = 0;
}

int LocalApic::Highest(const Bits& bits) {
  for (int i = 7; i >= 0; --i) {
    uint32_t word = bits[i].load(std::memory_order_relaxed);
    if (word) return i * 32 + 31 - __builtin_clz(word);
  }
  return -1;
}

uint32_t LocalApic::ProcessorPriority() const {
  int in_service = std::max(Highest(isr_), 0);
  uint32_t tpr = tpr_.load(std::memory_order_relaxed);
  return static_cast<uint32_t>(in_service >> 4) > (tpr >> 4)
             ? static_cast<uint32_t>(in_service & 0xf0)
             : tpr;
}

bool LocalApic::Pending() const {
  if (!SoftwareEnabled()) return false;
  int vector = Highest(irr_);
  return vector >= 0 && static_cast<uint32_t>(vector >> 4) > (ProcessorPriority() >> 4);
}

std::optional<uint8_t> LocalApic::Acknowledge() {
  if (!Pending()) return std::nullopt;
  int vector = Highest(irr_);
  uint32_t bit = 1u << (vector % 32);
  irr_[vector / 32].fetch_and(~bit);
  isr_[vector / 32].fetch_or(bit);
  return static_cast<uint8_t>(vector);
}

void LocalApic::EndOfInterrupt() {
  int vector = Highest(isr_);
  if (vector < 0) return;
  uint32_t bit = 1u << (vector % 32);
  isr_[vector / 32].fetch_and(~bit);
  if (tmr_[vector / 32].load() & bit) host_.on_eoi(static_cast<uint8_t>(vector));
  if (Pending()) host_.on_attention();
}

bool LocalApic::TakesExtInt() const {
  if (!HardwareEnabled()) return boot_processor_;
  uint32_t lint0 = lvt_[kLint0].load(std::memory_order_relaxed);
  return !(lint0 & kMasked) && static_cast<DeliveryMode>((lint0 >> 8) & 7) == DeliveryMode::kExtInt;
}

bool LocalApic::TakeNmi() {
  unsigned waiting = nmi_.load(std::memory_order_relaxed);
  while (waiting != 0 && !nmi_.compare_exchange_weak(waiting, waiting - 1)) {
  }
  return waiting != 0;
}

void LocalApic::Accept(const InterruptMessage& message) {
  if (message.mode == DeliveryMode::kNmi) {
    unsigned waiting = nmi_;
    while (waiting < kMaxNmi && !nmi_.compare_exchange_weak(waiting, waiting + 1)) {
    }
    host_.on_attention();
    return;
  }
  if (!SoftwareEnabled() || !HardwareEnabled()) return;
  if (message.vector < 16) {
    Fail(kEsrReceiveIllegal);
    return;
  }
  uint32_t bit = 1u << (message.vector % 32);
  auto& trigger = tmr_[message.vector / 32];
  if (message.level) {
    trigger.fetch_or(bit);
  } else {
    trigger.fetch_and(~bit);
  }
  irr_[message.vector / 32].fetch_or(bit);
  host_.on_attention();
}

void LocalApic::Fail(uint32_t error) {
  if (pending_esr_.fetch_or(error) & error) return;  // told already
  uint32_t entry = lvt_[kError];
  if (!(entry & kMasked) && (entry & 0xf0)) {
    Accept({.destination = id_, .vector = static_cast<uint8_t>(entry)});
  }
}

// Only of the page: an MSR that does not exist is #GP.
void LocalApic::FailRegister() {
  if (!(base_ & kExtended)) Fail(kEsrIllegalRegister);
}

void LocalApic::OnLint0() {
  uint32_t entry = lvt_[kLint0];
  auto mode = static_cast<DeliveryMode>((entry >> 8) & 7);
  if ((entry & kMasked) || (mode != DeliveryMode::kFixed && mode != DeliveryMode::kNmi)) return;
  Accept({.destination = id_, .mode = mode, .vector = static_cast<uint8_t>(entry)});
}

bool LocalApic::Matches(const InterruptMessage& message) const {
  uint64_t base = base_.load(std::memory_order_relaxed);
  bool x2apic = base & kExtended;
  uint32_t broadcast = message.x2apic ? 0xffffffff : 0xff;
  if (message.destination == broadcast) return true;
  if (!message.logical) {
    return message.destination == (x2apic ? id_ : xapic_id_.load(std::memory_order_relaxed) >> 24);
  }
  if (x2apic) {
    uint32_t ldr = (id_ >> 4) << 16 | 1u << (id_ & 15);
    return (message.destination >> 16) == (ldr >> 16) && (message.destination & ldr & 0xffff);
  }
  uint32_t logical = ldr_.load(std::memory_order_relaxed) >> 24;
  bool flat = dfr_.load(std::memory_order_relaxed) >> 28 == 0xf;
  if (flat) return (message.destination & logical) != 0;
  return (message.destination >> 4) == (logical >> 4) && (message.destination & logical & 0xf);
}

// ---- Registers ----

bool LocalApic::InPage(uint64_t gpa, uint32_t* offset) const {
  uint64_t base = base_.load(std::memory_order_relaxed);
  *offset = static_cast<uint32_t>(gpa & ~kBaseAddressMask);
  return (base & (kEnable | kExtended)) == kEnable &&
         (gpa & kBaseAddressMask) == (base & kBaseAddressMask);
}

uint32_t LocalApic::ReadPage(uint32_t offset) {
  if (offset & 0xf) return 0;
  return ReadRegister(offset >> 4);
}

void LocalApic::WritePage(uint32_t offset, uint32_t value) {
  if (offset & 0xf) return;
  uint32_t index = offset >> 4;
  if (index == kIcrHigh) {
    icr_ = (icr_ & 0xffffffff) | static_cast<uint64_t>(value) << 32;
    return;
  }
  if (index == kIcrLow) {
    icr_ = (icr_ & ~uint64_t{0xffffffff}) | (value & ~(1u << 12));
    SendCommand(icr_);
    return;
  }
  WriteRegister(index, value);
}

bool LocalApic::ReadMsr(uint32_t index, uint64_t* value) {
  if (index == kMsrApicBase) {
    *value = base_;
    return true;
  }
  if (index == kMsrTscDeadline) {
    *value = TimerMode() == kDeadline ? deadline_.load() : 0;
    return true;
  }
  if (index < kMsrBase || index >= kMsrEnd || !(base_ & kExtended)) return false;
  uint32_t number = index - kMsrBase;
  if (!ReadableInX2apic(number)) return false;
  switch (number) {
    case kIcrLow:
      *value = icr_;
      return true;
    case kLdr:
      *value = (id_ >> 4) << 16 | 1u << (id_ & 15);
      return true;
    default:
      *value = ReadRegister(number);
      return true;
  }
}

bool LocalApic::WriteMsr(uint32_t index, uint64_t value) {
  if (index == kMsrApicBase) {
    if (value & ~(kBaseAddressMask | kBoot | kExtended | kEnable)) return false;
    bool was_x2 = base_ & kExtended, now_x2 = value & kExtended;
    if (now_x2 && !(value & kEnable)) return false;
    // Only by way of disabling, and only by way of xAPIC mode (volume 3, figure 10-27).
    if (was_x2 && !now_x2 && (value & kEnable)) return false;
    if (now_x2 && !HardwareEnabled()) return false;
    base_ = (value & ~kBoot) | (boot_processor_ ? kBoot : 0);
    if (!(value & kEnable)) {
      ResetRegisters();
      xapic_id_ = id_ << 24;
    }
    return true;
  }
  if (index == kMsrTscDeadline) {
    if (TimerMode() != kDeadline) return true;
    deadline_ = value;
    if (value == 0) {
      timers_.Disarm(timer_);
    } else if (value <= clock_.Ticks()) {
      // At once, and not when the timers' thread comes to it: the guest may look right behind.
      timers_.Disarm(timer_);
      OnTimer();
    } else {
      timers_.Arm(timer_, value);
    }
    return true;
  }
  if (index < kMsrBase || index >= kMsrEnd || !(base_ & kExtended)) return false;
  uint32_t number = index - kMsrBase;
  if (ReservedBits(number, value)) return false;
  if (number == kIcrLow) {
    icr_ = value & ~uint64_t{1u << 12};
    SendCommand(icr_);
    return true;
  }
  if (value >> 32) return false;
  switch (number) {
    case kId:
    case kVersion:
    case kPpr:
    case kLdr:
    case kDfr:
    case kIcrHigh:
    case kCurrentCount:
      return false;
    case kTpr:
      if (value > 0xff) return false;
      break;
    case kEoi:
    case kEsr:
      if (value != 0) return false;
      break;
    case kSelfIpi:
      if (value > 0xff) return false;
      if (value < 16) Fail(kEsrSendIllegal);
      Accept({.destination = id_, .vector = static_cast<uint8_t>(value)});
      return true;
  }
  return WriteRegister(number, value);
}

// Bits that WRMSR must not set in x2APIC mode (volume 3, table 10-6).
bool LocalApic::ReservedBits(uint32_t number, uint64_t value) const {
  constexpr uint32_t kDeliveryStatus = 1 << 12, kRemoteIrr = 1 << 14;
  if (number == kIcrLow) return value & 0xfff32000;
  if (number == kSvr) return value & ~uint64_t{0x3ff};
  if (number == kDivide) return value & ~uint64_t{0xb};
  if (number < kLvtTimer || number > kLvtError) return false;
  unsigned entry = number - kLvtTimer;
  uint32_t known = kLvtWritable[entry] | kDeliveryStatus;
  if (entry == kLint0 || entry == kLint1) known |= kRemoteIrr;
  return value & ~uint64_t{known};
}

uint32_t LocalApic::ReadRegister(uint32_t index) {
  if (index >= kIsr && index < kIsr + 8) return isr_[index - kIsr];
  if (index >= kTmr && index < kTmr + 8) return tmr_[index - kTmr];
  if (index >= kIrr && index < kIrr + 8) return irr_[index - kIrr];
  if (index >= kLvtTimer && index <= kLvtError) return lvt_[index - kLvtTimer];
  switch (index) {
    case kEoi:
      return 0;
    case kId:
      return base_ & kExtended ? id_ : xapic_id_.load();
    case kVersion:
      return kVersionValue;
    case kTpr:
      return tpr_;
    case kApr:
      return 0;
    case kPpr:
      return ProcessorPriority();
    case kLdr:
      return ldr_;
    case kDfr:
      return dfr_;
    case kSvr:
      return svr_;
    case kEsr:
      return esr_;
    case kIcrLow:
      return static_cast<uint32_t>(icr_);
    case kIcrHigh:
      return static_cast<uint32_t>(icr_ >> 32);
    case kInitialCount:
      return initial_count_;
    case kCurrentCount:
      return CurrentCount();
    case kDivide:
      return divide_;
    default:
      FailRegister();
      return 0;
  }
}

bool LocalApic::WriteRegister(uint32_t index, uint64_t wide) {
  auto value = static_cast<uint32_t>(wide);
  if (index >= kLvtTimer && index <= kLvtError) {
    unsigned entry = index - kLvtTimer;
    unsigned old_mode = TimerMode();
    // A masked APIC keeps its entries masked.
    lvt_[entry] = (value & kLvtWritable[entry]) | (SoftwareEnabled() ? 0 : kMasked);
    if (entry == kTimer) ChangeTimerMode(old_mode);
    if (entry == kLint0) host_.on_attention();
    return true;
  }
  switch (index) {
    case kId:
      if (!(base_ & kExtended)) xapic_id_ = value & 0xff000000;
      return true;
    case kTpr:
      tpr_ = value & 0xff;
      if (Pending()) host_.on_attention();
      return true;
    case kEoi:
      EndOfInterrupt();
      return true;
    case kLdr:
      ldr_ = value & 0xff000000;
      return true;
    case kDfr:
      dfr_ = value | 0x0fffffff;
      return true;
    case kSvr:
      svr_ = value & 0x1ff;
      if (!SoftwareEnabled()) {
        for (auto& entry : lvt_) entry.fetch_or(kMasked);
      }
      host_.on_attention();
      return true;
    case kEsr:
      esr_ = pending_esr_.exchange(0);
      return true;
    case kInitialCount:
      if (TimerMode() == kDeadline) return true;
      initial_count_ = value;
      StartTimer();
      return true;
    case kDivide:
      divide_ = value & 0xb;
      return true;
    case kVersion:
    case kApr:
    case kPpr:
    case kCurrentCount:
      return !(base_ & kExtended);  // read-only
    default:
      if (index < kIsr || index >= kIrr + 8) FailRegister();
      return !(base_ & kExtended);
  }
}

void LocalApic::SendCommand(uint64_t command) {
  InterruptMessage message;
  message.mode = static_cast<DeliveryMode>((command >> 8) & 7);
  message.vector = static_cast<uint8_t>(command);
  message.logical = (command >> 11) & 1;
  message.x2apic = base_ & kExtended;
  message.destination = static_cast<uint32_t>(command >> (message.x2apic ? 32 : 56));
  bool assert = (command >> 14) & 1;
  bool level = (command >> 15) & 1;
  if (message.mode == DeliveryMode::kInit && level && !assert)
    return;  // INIT level de-assert does nothing
  if ((message.mode == DeliveryMode::kFixed || message.mode == DeliveryMode::kLowestPriority) &&
      message.vector < 16) {
    Fail(kEsrSendIllegal);
    return;
  }
  host_.send(id_, message, static_cast<int>((command >> 18) & 3));
}

// ---- Timer ----

uint64_t LocalApic::TimerPeriodTicks() const {
  uint32_t divide = divide_.load(std::memory_order_relaxed);
  unsigned shift = ((divide & 3) | ((divide >> 1) & 4)) + 1;
  shift &= 7;  // 0b111 divides by one
  uint64_t ns = (static_cast<uint64_t>(initial_count_.load()) << shift) * kNsPerCount;
  return std::max<uint64_t>(clock_.NanosecondsToTicks(ns), 1);
}

// Into and out of deadline mode disarms the timer (volume 3, section 10.5.4.1); between one-shot
// and periodic mode it counts on.
void LocalApic::ChangeTimerMode(unsigned old_mode) {
  unsigned mode = TimerMode();
  if (mode == old_mode) return;
  if (old_mode == kOneShot && clock_.Ticks() - timer_start_ >= TimerPeriodTicks()) expired_ = true;
  if (mode == kDeadline || old_mode == kDeadline) {
    timers_.Disarm(timer_);
    deadline_ = 0;
    initial_count_ = 0;
  } else if (mode == kPeriodic && initial_count_ != 0 && !expired_) {
    uint64_t period = TimerPeriodTicks();
    timer_start_ += (clock_.Ticks() - timer_start_) / period * period;
    timers_.Arm(timer_, timer_start_ + period);
  }
}

void LocalApic::StartTimer() {
  if (initial_count_ == 0) {
    timers_.Disarm(timer_);
    return;
  }
  timer_start_ = clock_.Ticks();
  expired_ = false;
  timers_.Arm(timer_, timer_start_ + TimerPeriodTicks());
}

uint32_t LocalApic::CurrentCount() const {
  uint32_t initial = initial_count_;
  if (initial == 0 || expired_ || TimerMode() == kDeadline) return 0;
  uint64_t period = TimerPeriodTicks(), elapsed = clock_.Ticks() - timer_start_;
  if (elapsed >= period) {
    if (TimerMode() == kOneShot) return 0;
    elapsed %= period;
  }
  return static_cast<uint32_t>(initial - base::MultiplyDivide(initial, elapsed, period));
}

void LocalApic::OnTimer() {
  uint32_t entry = lvt_[kTimer];
  unsigned mode = (entry >> 17) & 3;
  if (mode == kPeriodic && initial_count_ != 0) {
    // Periods that were missed are dropped, not made up for in a burst.
    uint64_t period = TimerPeriodTicks(), start = timer_start_, now = clock_.Ticks();
    start += (now - start) / period * period;
    timer_start_ = start;
    timers_.Arm(timer_, start + period);
  } else if (mode == kDeadline) {
    deadline_ = 0;
  }
  if (!(entry & kMasked)) Accept({.destination = id_, .vector = static_cast<uint8_t>(entry)});
}

}  // namespace trapline::machine

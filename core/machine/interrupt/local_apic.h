// SPDX-License-Identifier: Apache-2.0
// The local APIC of one vCPU, as xAPIC and x2APIC (Intel SDM volume 3, chapter 10).
//
// Other threads only add: Accept sets a bit of the request register, or of the errors, and calls
// for attention. Everything else happens on the vCPU's own thread, but for the timer, whose thread
// reads the timer entry of the local vector table. Both are atomics; there is no lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>

#include "core/base/vm_clock.h"
#include "core/machine/timer/timer_queue.h"

namespace trapline::machine {

enum class DeliveryMode : uint8_t {
  kFixed = 0,
  kLowestPriority = 1,
  kSmi = 2,
  kNmi = 4,
  kInit = 5,
  kStartup = 6,
  kExtInt = 7,
};

// An interrupt message as it travels between APICs.
struct InterruptMessage {
  uint32_t destination = 0;
  bool logical = false;
  DeliveryMode mode = DeliveryMode::kFixed;
  uint8_t vector = 0;
  bool level = false;   // level-triggered: the EOI is broadcast
  bool x2apic = false;  // destination is 32 bits wide
};

// What a local APIC asks of its surroundings; all may be called with no lock held.
struct LocalApicHost {
  std::function<void()> on_attention;  // something waits for this vCPU
  std::function<void(uint32_t sender, const InterruptMessage&, int shorthand)> send;
  std::function<void(uint8_t vector)> on_eoi;  // of a level-triggered interrupt
};

class LocalApic {
 public:
  LocalApic(uint32_t id, bool boot_processor, base::VmClock& clock, TimerQueue& timers,
            LocalApicHost host);

  // Power-on state; while its vCPU does not run.
  void Reset();
  // The state after INIT: as Reset, but the mode and base stay.
  void Init();

  uint32_t id() const { return id_; }

  // --- The register page and the MSRs; the vCPU's own thread ---
  uint32_t ReadPage(uint32_t offset);
  void WritePage(uint32_t offset, uint32_t value);
  // IA32_APIC_BASE, 0x800 to 0x8ff, IA32_TSC_DEADLINE. False: #GP(0).
  bool ReadMsr(uint32_t index, uint64_t* value);
  bool WriteMsr(uint32_t index, uint64_t value);
  // True if a physical address is in the register page, wherever IA32_APIC_BASE has put that;
  // *offset is the place in it. RAM has precedence over a page that the guest puts into RAM.
  bool InPage(uint64_t gpa, uint32_t* offset) const;

  // --- Interrupts; the vCPU's own thread ---
  bool Pending() const;
  std::optional<uint8_t> Acknowledge();
  bool TakeNmi();
  bool NmiPending() const { return nmi_.load(std::memory_order_relaxed) != 0; }
  uint8_t ReadTaskPriority() const { return static_cast<uint8_t>(tpr_ >> 4); }
  void WriteTaskPriority(uint8_t priority) { tpr_ = static_cast<uint32_t>(priority) << 4; }
  // True if interrupts of the PIC reach this vCPU (virtual wire through LINT0, or no APIC at all).
  bool TakesExtInt() const;

  // --- From any thread ---
  // Delivers a fixed, lowest-priority or NMI message to this APIC.
  void Accept(const InterruptMessage& message);
  // The input LINT0 rose.
  void OnLint0();
  // False: messages between APICs do not reach it at all.
  bool HardwareEnabled() const { return base_ & kEnable; }
  // True if it accepts fixed and lowest-priority messages.
  bool TakesFixed() const { return HardwareEnabled() && SoftwareEnabled(); }
  // True if the message's destination names this APIC.
  bool Matches(const InterruptMessage& message) const;
  // For lowest-priority arbitration.
  uint32_t ProcessorPriority() const;

 private:
  static constexpr uint64_t kBoot = 1 << 8, kExtended = 1 << 10, kEnable = 1 << 11;
  static constexpr unsigned kLvtCount = 6;  // timer, thermal, performance, LINT0, LINT1, error
  // One that the processor is about to take, and the one that it latches behind that.
  static constexpr unsigned kMaxNmi = 2;
  enum Lvt { kTimer, kThermal, kPerformance, kLint0, kLint1, kError };
  using Bits = std::array<std::atomic<uint32_t>, 8>;

  uint32_t ReadRegister(uint32_t index);
  bool WriteRegister(uint32_t index, uint64_t value);
  bool SoftwareEnabled() const { return svr_.load(std::memory_order_relaxed) & (1 << 8); }
  // Notes an error, and interrupts by the error entry.
  void Fail(uint32_t error);
  void FailRegister();
  bool ReservedBits(uint32_t number, uint64_t value) const;
  void ResetRegisters();
  void EndOfInterrupt();
  void SendCommand(uint64_t command);
  static int Highest(const Bits& bits);

  // --- Timer ---
  void OnTimer();
  void StartTimer();
  void ChangeTimerMode(unsigned old_mode);
  uint32_t CurrentCount() const;
  uint64_t TimerPeriodTicks() const;
  unsigned TimerMode() const { return (lvt_[kTimer].load() >> 17) & 3; }

  const uint32_t id_;
  const bool boot_processor_;
  base::VmClock& clock_;
  TimerQueue& timers_;
  LocalApicHost host_;
  TimerQueue::Id timer_;

  std::atomic<uint64_t> base_{0};
  std::atomic<uint32_t> svr_{0xff};
  std::atomic<uint32_t> ldr_{0}, dfr_{0xffffffff};
  std::atomic<uint32_t> tpr_{0};
  std::atomic<uint32_t> xapic_id_{0};
  std::array<std::atomic<uint32_t>, kLvtCount> lvt_{};
  Bits irr_{}, isr_{}, tmr_{};
  std::atomic<unsigned> nmi_{0};  // how many wait
  uint32_t esr_ = 0;
  std::atomic<uint32_t> pending_esr_{0};  // errors since the register was last written
  uint64_t icr_ = 0;
  std::atomic<uint32_t> initial_count_{0}, divide_{0};
  std::atomic<uint64_t> timer_start_{0};
  std::atomic<bool> expired_{false};  // at zero for good: one-shot mode, or never started
  std::atomic<uint64_t> deadline_{0};
};

}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// A board with its clock, whose calls to the outside are recorded, for tests.
//
// Time stands still but in Advance and AwaitInterrupt, so that counts are functions of ticks().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/checked.h"
#include "core/base/vm_clock.h"
#include "core/machine/platform/layout.h"
#include "core/machine/platform/platform.h"

namespace trapline::machine {

// Registers of the local APIC, as offsets in its page (SDM volume 3, table 10-1).
namespace apic {
constexpr uint32_t kId = 0x20, kVersion = 0x30, kTpr = 0x80, kPpr = 0xa0, kEoi = 0xb0, kLdr = 0xd0,
                   kDfr = 0xe0, kSvr = 0xf0, kIsr = 0x100, kTmr = 0x180, kIrr = 0x200, kEsr = 0x280,
                   kIcrLow = 0x300, kIcrHigh = 0x310, kLvtTimer = 0x320, kLvtThermal = 0x330,
                   kLvtPerformance = 0x340, kLvtLint0 = 0x350, kLvtLint1 = 0x360, kLvtError = 0x370,
                   kInitialCount = 0x380, kCurrentCount = 0x390, kDivide = 0x3e0;
constexpr uint32_t kEnabled = 0x1ff;  // SVR: enabled, spurious vector 0xff
constexpr uint32_t kMasked = 1 << 16, kPeriodic = 1 << 17, kTscDeadline = 2 << 17;
constexpr uint32_t kDivideBy1 = 0xb;
// The interrupt command register.
constexpr uint32_t kFixed = 0, kLowest = 1 << 8, kNmi = 4 << 8, kInit = 5 << 8, kStartup = 6 << 8;
constexpr uint32_t kLogical = 1 << 11, kAssert = 1 << 14, kLevel = 1 << 15;
constexpr uint32_t kToSelf = 1 << 18, kToAll = 2 << 18, kToOthers = 3 << 18;
// MSRs.
constexpr uint32_t kBaseMsr = 0x1b, kDeadlineMsr = 0x6e0, kX2Msr = 0x800, kSelfIpiMsr = 0x83f;
constexpr uint64_t kBaseBoot = 1 << 8, kBaseX2 = 1 << 10, kBaseEnable = 1 << 11;
constexpr uint32_t X2(uint32_t offset) { return kX2Msr + (offset >> 4); }
}  // namespace apic

// What the board told the VM.
struct Told {
  std::map<uint32_t, uint64_t> attention;  // times by vCPU
  std::vector<uint32_t> init;
  std::vector<std::pair<uint32_t, uint8_t>> startup;
  std::vector<std::string> reset;
  int power_off = 0;
  std::vector<uint32_t> debug_exit;
  std::string console;
};

class Board {
 public:
  explicit Board(uint32_t vcpus = 1, uint64_t memory_bytes = 0)
      : vcpus_(vcpus), platform(vcpus, clock, Observer(), memory_bytes) {}
  ~Board() { clock.Stop(); }

  // --- Ports ---
  uint32_t In(uint16_t port, unsigned size = 1) { return platform.ReadPort(0, port, size); }
  void Out(uint16_t port, uint32_t value, unsigned size = 1) {
    platform.WritePort(0, port, size, value);
  }
  uint8_t Com1(uint16_t offset) { return static_cast<uint8_t>(In(layout::kCom1 + offset)); }
  void Com1(uint16_t offset, uint8_t value) { Out(layout::kCom1 + offset, value); }
  // Interrupt lines 0 to 15, by the test device.
  void Raise(unsigned line) { Out(static_cast<uint16_t>(layout::kTestLines + line), 1); }
  void Lower(unsigned line) { Out(static_cast<uint16_t>(layout::kTestLines + line), 0); }
  void Pulse(unsigned line) {
    Raise(line);
    Lower(line);
  }

  // --- The I/O APIC ---
  uint32_t IoApic(uint32_t reg) {
    platform.WriteMmio(0, layout::kIoApicBase, 4, reg);
    return static_cast<uint32_t>(platform.ReadMmio(0, layout::kIoApicBase + 0x10, 4));
  }
  void IoApicWrite(uint32_t reg, uint32_t value) {
    platform.WriteMmio(0, layout::kIoApicBase, 4, reg);
    platform.WriteMmio(0, layout::kIoApicBase + 0x10, 4, value);
  }
  // A pin's redirection entry; the low half, which may unmask, comes last.
  void Redirect(unsigned pin, uint32_t low, uint8_t destination = 0) {
    IoApicWrite(0x11 + 2 * pin, static_cast<uint32_t>(destination) << 24);
    IoApicWrite(0x10 + 2 * pin, low);
  }

  // --- Local APICs ---
  uint32_t Apic(uint32_t vcpu, uint32_t offset) {
    return static_cast<uint32_t>(platform.ReadMmio(vcpu, layout::kLocalApicBase + offset, 4));
  }
  void ApicWrite(uint32_t vcpu, uint32_t offset, uint32_t value) {
    platform.WriteMmio(vcpu, layout::kLocalApicBase + offset, 4, value);
  }
  void Enable(uint32_t vcpu) { ApicWrite(vcpu, apic::kSvr, apic::kEnabled); }
  // Software-enables them all, and gives each a bit of the flat model.
  void EnableAll() {
    for (uint32_t i = 0; i < vcpus_; ++i) {
      Enable(i);
      ApicWrite(i, apic::kLdr, 1u << (24 + i % 8));
    }
  }
  void Command(uint32_t vcpu, uint32_t low, uint8_t destination = 0) {
    ApicWrite(vcpu, apic::kIcrHigh, static_cast<uint32_t>(destination) << 24);
    ApicWrite(vcpu, apic::kIcrLow, low);
  }
  void Eoi(uint32_t vcpu = 0) { ApicWrite(vcpu, apic::kEoi, 0); }
  // The bit of a vector in ISR, TMR or IRR.
  bool VectorBit(uint32_t vcpu, uint32_t registers, uint8_t vector) {
    return Apic(vcpu, registers + vector / 32 * 0x10) >> (vector % 32) & 1;
  }
  // The errors since the last call.
  uint32_t Errors(uint32_t vcpu) {
    ApicWrite(vcpu, apic::kEsr, 0);
    return Apic(vcpu, apic::kEsr);
  }
  std::optional<uint64_t> Msr(uint32_t vcpu, uint32_t index) {
    uint64_t value = 0;
    if (!platform.ReadMsr(vcpu, index, &value)) return std::nullopt;
    return value;
  }
  bool SetMsr(uint32_t vcpu, uint32_t index, uint64_t value) {
    return platform.WriteMsr(vcpu, index, value);
  }
  void EnterX2(uint32_t vcpu) {
    SetMsr(vcpu, apic::kBaseMsr, *Msr(vcpu, apic::kBaseMsr) | apic::kBaseX2 | apic::kBaseEnable);
    SetMsr(vcpu, apic::X2(apic::kSvr), apic::kEnabled);
  }

  // --- Interrupts as the vCPU sees them ---
  bool Pending(uint32_t vcpu = 0) { return platform.InterruptPending(vcpu); }
  std::optional<uint8_t> Take(uint32_t vcpu = 0) { return platform.AcknowledgeInterrupt(vcpu); }
  // Takes all that comes without an EOI in between.
  std::vector<uint8_t> TakeAll(uint32_t vcpu = 0) {
    std::vector<uint8_t> vectors;
    while (vectors.size() < 256) {
      auto vector = Take(vcpu);
      if (!vector) break;
      vectors.push_back(*vector);
    }
    return vectors;
  }

  // --- Time ---
  uint64_t ticks() const { return clock.Ticks(); }
  // How often something of this frequency has counted since a tick.
  uint64_t Counted(uint64_t since, uint64_t hertz) const {
    return base::MultiplyDivide(clock.Ticks() - since, hertz, clock.frequency());
  }
  void Go() {
    clock.Start();
    platform.OnClockChanged();
  }
  // Lets at least this much guest time pass.
  void Advance(uint64_t nanoseconds) {
    uint64_t end = clock.Ticks() + clock.NanosecondsToTicks(nanoseconds);
    Go();
    while (clock.Ticks() < end) std::this_thread::yield();
    clock.Stop();
  }
  // Lets time pass until an interrupt waits for the vCPU; false if none has after ten seconds.
  bool AwaitInterrupt(uint32_t vcpu = 0) {
    absl::Time end = absl::Now() + absl::Seconds(10);
    Go();
    bool pending;
    for (;;) {
      uint64_t seen = told().attention[vcpu];
      pending = Pending(vcpu);
      if (pending || absl::Now() > end) break;
      absl::MutexLock lock(&mutex_);
      while (told_.attention[vcpu] == seen) {
        if (attention_.WaitWithTimeout(&mutex_, end - absl::Now())) break;
      }
    }
    clock.Stop();
    return pending;
  }

  Told told() {
    absl::MutexLock lock(&mutex_);
    return told_;
  }
  uint64_t Attention(uint32_t vcpu) { return told().attention[vcpu]; }

  base::VmClock clock;

 private:
  PlatformObserver Observer();

  const uint32_t vcpus_;
  absl::Mutex mutex_;
  absl::CondVar attention_;
  Told told_ ABSL_GUARDED_BY(mutex_);

 public:
  Platform platform;
};

inline PlatformObserver Board::Observer() {
  auto record = [this](auto change) {
    return [this, change](auto... what) {
      absl::MutexLock lock(&mutex_);
      change(told_, what...);
      attention_.Signal();
    };
  };
  PlatformObserver observer;
  observer.on_attention = record([](Told& told, uint32_t vcpu) { ++told.attention[vcpu]; });
  observer.on_init = record([](Told& told, uint32_t vcpu) { told.init.push_back(vcpu); });
  observer.on_startup = record(
      [](Told& told, uint32_t vcpu, uint8_t vector) { told.startup.emplace_back(vcpu, vector); });
  observer.on_reset = record([](Told& told, std::string_view by) { told.reset.emplace_back(by); });
  observer.on_power_off = record([](Told& told) { ++told.power_off; });
  observer.on_debug_exit =
      record([](Told& told, uint32_t value) { told.debug_exit.push_back(value); });
  observer.on_console_output =
      record([](Told& told, std::string_view bytes) { told.console += bytes; });
  return observer;
}

}  // namespace trapline::machine

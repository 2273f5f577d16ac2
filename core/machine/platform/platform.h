// SPDX-License-Identifier: Apache-2.0
// The board: a PC without PCI, made of the devices, buses and interrupt controllers of
// core/machine.
//
// Lock order: a device's own lock, then the PIC's or the I/O APIC's. on_attention, on_init and
// on_startup may be called with such a lock held and must not come back here; the others are called
// with none.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/vm_clock.h"
#include "core/machine/devices/acpi_pm.h"
#include "core/machine/devices/firmware_config.h"
#include "core/machine/devices/pit.h"
#include "core/machine/devices/rtc.h"
#include "core/machine/devices/test_device.h"
#include "core/machine/devices/uart.h"
#include "core/machine/interrupt/io_apic.h"
#include "core/machine/interrupt/local_apic.h"
#include "core/machine/interrupt/pic.h"
#include "core/machine/timer/timer_queue.h"

namespace trapline::machine {

// What the board tells the VM. Called from vCPU threads and the timer thread.
struct PlatformObserver {
  std::function<void(uint32_t vcpu)> on_attention;  // an interrupt or NMI waits for it; cheap
  std::function<void(uint32_t vcpu)> on_init;
  std::function<void(uint32_t vcpu, uint8_t vector)> on_startup;
  std::function<void(std::string_view by)> on_reset;  // the guest asks for a reset; by what
  std::function<void()> on_power_off;
  std::function<void(uint32_t value)> on_debug_exit;
  std::function<void(std::string_view bytes)> on_console_output;
};

// Thread-safe; calls with a vCPU come from that vCPU's thread.
class Platform {
 public:
  // memory_bytes: what guests that ask are told.
  Platform(uint32_t vcpus, base::VmClock& clock, PlatformObserver observer,
           uint64_t memory_bytes = 0);
  ~Platform();

  // Power-on state; while no vCPU runs.
  void Reset();
  // The clock was started or stopped.
  void OnClockChanged() { timers_.Rearm(); }

  // --- Buses ---
  uint32_t ReadPort(uint32_t vcpu, uint16_t port, unsigned size);
  void WritePort(uint32_t vcpu, uint16_t port, unsigned size, uint32_t value);
  uint64_t ReadMmio(uint32_t vcpu, uint64_t gpa, unsigned size);
  void WriteMmio(uint32_t vcpu, uint64_t gpa, unsigned size, uint64_t value);
  bool ReadMsr(uint32_t vcpu, uint32_t index, uint64_t* value) {
    return apics_[vcpu]->ReadMsr(index, value);
  }
  bool WriteMsr(uint32_t vcpu, uint32_t index, uint64_t value) {
    return apics_[vcpu]->WriteMsr(index, value);
  }

  // --- Interrupts of a vCPU ---
  bool InterruptPending(uint32_t vcpu) const;
  std::optional<uint8_t> AcknowledgeInterrupt(uint32_t vcpu);
  bool TakeNmi(uint32_t vcpu) { return apics_[vcpu]->TakeNmi(); }
  uint8_t ReadTaskPriority(uint32_t vcpu) const { return apics_[vcpu]->ReadTaskPriority(); }
  void WriteTaskPriority(uint32_t vcpu, uint8_t priority) {
    apics_[vcpu]->WriteTaskPriority(priority);
  }
  // True if something would end this vCPU's HLT.
  bool HasWork(uint32_t vcpu) const { return InterruptPending(vcpu) || apics_[vcpu]->NmiPending(); }
  // The vCPU was reset by INIT.
  void InitApic(uint32_t vcpu) { apics_[vcpu]->Init(); }

  // --- Interrupts by message, for the hypercall services. Any thread ---
  // Delivers to the APIC with this id; false: there is none.
  bool SendTo(uint32_t apic_id, DeliveryMode mode, uint8_t vector);

  // The VM's timers; they are stopped before the board goes.
  TimerQueue& timers() { return timers_; }

  // --- The world outside. Any thread ---
  size_t WriteConsole(std::string_view bytes) { return uart_.Receive(bytes); }
  void PowerButton() { pm_.PowerButton(); }

 private:
  void LeaveFirmwareState();
  void OnPicOutput();
  void SetLine(uint8_t line, bool high);
  void Deliver(const InterruptMessage& message);
  void Send(uint32_t sender, const InterruptMessage& message, int shorthand);
  void DeliverTo(uint32_t vcpu, const InterruptMessage& message);
  uint8_t ReadPortByte(uint16_t port);
  void WritePortByte(uint16_t port, uint8_t value);

  base::VmClock& clock_;
  PlatformObserver observer_;
  TimerQueue timers_;
  std::vector<std::unique_ptr<LocalApic>> apics_;
  Pic pic_;
  IoApic io_apic_;
  Pit pit_;
  Rtc rtc_;
  Uart uart_;
  AcpiPm pm_;
  FirmwareConfig firmware_config_;
  TestDevice test_device_;
};

}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// Address decoding and interrupt wiring.
#include "core/machine/platform/platform.h"

#include <utility>

#include "core/machine/platform/layout.h"

namespace trapline::machine {
namespace {

constexpr uint8_t kFastReset = 1, kA20 = 2;
constexpr uint8_t kPulseReset = 0xfe;
constexpr uint8_t kResetControlGo = 4;
constexpr int kShorthandNone = 0, kShorthandSelf = 1, kShorthandAll = 2;

// What firmware programs: the controllers' vectors in real mode (IBM PC/AT technical reference),
// and which of the slave's lines it leaves open: 10 and 11, PCI's.
constexpr uint8_t kInitialise = 0x11, kMasterBase = 0x08, kSlaveBase = 0x70, k8086Mode = 1;
constexpr uint8_t kMasterCascade = 1 << 2, kSlaveIdentity = 2;
constexpr uint8_t kMasterMask = static_cast<uint8_t>(~kMasterCascade), kSlaveMask = 0xf3;
constexpr uint32_t kApicSpurious = 0xf0, kApicLint0 = 0x350, kApicLint1 = 0x360;
constexpr uint32_t kApicEnabled = 0x1ff, kExtIntUnmasked = 0x700, kNmiUnmasked = 0x400;

bool In(uint64_t address, uint64_t start, uint64_t size) { return address - start < size; }

}  // namespace

Platform::Platform(uint32_t vcpus, base::VmClock& clock, PlatformObserver observer,
                   uint64_t memory_bytes)
    : clock_(clock),
      observer_(std::move(observer)),
      timers_(clock),
      pic_([this] { OnPicOutput(); }),
      io_apic_([this](const InterruptMessage& message) { Deliver(message); }),
      pit_(clock, timers_, [this](bool high) { SetLine(layout::kTimerLine, high); }),
      uart_([this](bool high) { SetLine(layout::kCom1Line, high); },
            [this](std::string_view bytes) { observer_.on_console_output(bytes); }),
      pm_(
          clock, [this](bool high) { SetLine(layout::kSciLine, high); },
          [this] { observer_.on_power_off(); }),
      firmware_config_(vcpus, memory_bytes),
      test_device_([this](uint8_t line, bool high) { SetLine(line, high); }) {
  for (uint32_t i = 0; i < vcpus; ++i) {
    LocalApicHost host;
    host.on_attention = [this, i] { observer_.on_attention(i); };
    host.send = [this](uint32_t sender, const InterruptMessage& message, int shorthand) {
      Send(sender, message, shorthand);
    };
    host.on_eoi = [this](uint8_t vector) { io_apic_.EndOfInterrupt(vector); };
    apics_.push_back(std::make_unique<LocalApic>(i, i == 0, clock_, timers_, std::move(host)));
  }
  Reset();
}

// The devices go before the queue does, and its thread must not call them then.
Platform::~Platform() { timers_.Stop(); }

void Platform::Reset() {
  for (auto& apic : apics_) apic->Reset();
  pic_.Reset();
  io_apic_.Reset();
  pit_.Reset();
  rtc_.Reset();
  uart_.Reset();
  pm_.Reset();
  firmware_config_.Reset();
  test_device_.Reset();
  LeaveFirmwareState();
}

// No firmware runs here, and guests that were written for a PC rely on its work all the same: the
// PIC answers with the vectors of real mode, and the boot processor's APIC passes its interrupts on
// (MultiProcessor specification 1.4, section 3.6.2.2, virtual wire mode).
void Platform::LeaveFirmwareState() {
  auto chip = [this](uint16_t port, uint8_t base, uint8_t cascade, uint8_t mask) {
    WritePortByte(port, kInitialise);
    for (uint8_t word : {base, cascade, k8086Mode, mask}) WritePortByte(port + 1, word);
  };
  chip(layout::kPicMaster, kMasterBase, kMasterCascade, kMasterMask);
  chip(layout::kPicSlave, kSlaveBase, kSlaveIdentity, kSlaveMask);
  apics_[0]->WritePage(kApicSpurious, kApicEnabled);
  apics_[0]->WritePage(kApicLint0, kExtIntUnmasked);
  apics_[0]->WritePage(kApicLint1, kNmiUnmasked);
}

// LINT0 of the boot processor is the PICs' output.
void Platform::OnPicOutput() {
  apics_[0]->OnLint0();
  observer_.on_attention(0);
}

void Platform::SetLine(uint8_t line, bool high) {
  pic_.SetLine(line, high);
  io_apic_.SetPin(line == layout::kTimerLine ? layout::kTimerIoApicPin : line, high);
}

// ---- Interrupt messages ----

void Platform::DeliverTo(uint32_t vcpu, const InterruptMessage& message) {
  if (!apics_[vcpu]->HardwareEnabled()) return;
  switch (message.mode) {
    case DeliveryMode::kInit:
      observer_.on_init(vcpu);
      return;
    case DeliveryMode::kStartup:
      observer_.on_startup(vcpu, message.vector);
      return;
    case DeliveryMode::kFixed:
    case DeliveryMode::kLowestPriority:
    case DeliveryMode::kNmi:
      apics_[vcpu]->Accept(message);
      return;
    case DeliveryMode::kExtInt:
      observer_.on_attention(vcpu);
      return;
    case DeliveryMode::kSmi:
      return;  // there is no system-management mode
  }
}

void Platform::Deliver(const InterruptMessage& message) {
  LocalApic* lowest = nullptr;
  for (auto& apic : apics_) {
    if (!apic->Matches(message)) continue;
    if (message.mode != DeliveryMode::kLowestPriority) {
      DeliverTo(apic->id(), message);
    } else if (!apic->TakesFixed()) {
      continue;  // arbitration is among those that would accept it
    } else if (!lowest || apic->ProcessorPriority() < lowest->ProcessorPriority()) {
      lowest = apic.get();
    }
  }
  if (lowest) DeliverTo(lowest->id(), message);
}

void Platform::Send(uint32_t sender, const InterruptMessage& message, int shorthand) {
  if (shorthand == kShorthandNone) {
    Deliver(message);
    return;
  }
  for (auto& apic : apics_) {
    bool self = apic->id() == sender;
    if (shorthand == kShorthandSelf ? self : (shorthand == kShorthandAll || !self)) {
      DeliverTo(apic->id(), message);
    }
  }
}

bool Platform::SendTo(uint32_t apic_id, DeliveryMode mode, uint8_t vector) {
  if (apic_id >= apics_.size()) return false;
  DeliverTo(apic_id, {.destination = apic_id, .mode = mode, .vector = vector});
  return true;
}

bool Platform::InterruptPending(uint32_t vcpu) const {
  return apics_[vcpu]->Pending() || (pic_.Pending() && apics_[vcpu]->TakesExtInt());
}

std::optional<uint8_t> Platform::AcknowledgeInterrupt(uint32_t vcpu) {
  if (auto vector = apics_[vcpu]->Acknowledge()) return vector;
  if (pic_.Pending() && apics_[vcpu]->TakesExtInt()) return pic_.Acknowledge();
  return std::nullopt;
}

// ---- Ports ----

uint32_t Platform::ReadPort(uint32_t, uint16_t port, unsigned size) {
  if (In(port, layout::kPm1Event, layout::kPmPorts) &&
      In(port + size - 1, layout::kPm1Event, layout::kPmPorts)) {
    return pm_.Read(port - layout::kPm1Event, size);
  }
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    value |= static_cast<uint32_t>(ReadPortByte(static_cast<uint16_t>(port + i))) << (8 * i);
  }
  return value;
}

void Platform::WritePort(uint32_t, uint16_t port, unsigned size, uint32_t value) {
  if (In(port, layout::kPm1Event, layout::kPmPorts)) {
    pm_.Write(port - layout::kPm1Event, size, value);
    return;
  }
  if (In(port, layout::kDebugExit, layout::kDebugExitPorts)) {
    observer_.on_debug_exit(value);
    return;
  }
  // The selector is one word, whose upper byte would fall on the data port.
  if (port == layout::kFirmwareSelector)
    return firmware_config_.Select(static_cast<uint16_t>(value));
  if (In(port, layout::kTestLines, layout::kTestLineCount)) {
    test_device_.SetLine(static_cast<uint8_t>(port - layout::kTestLines), value != 0);
    return;
  }
  // The reset register lies inside the PCI address register, which is written as a double word.
  if (In(port, layout::kPciAddress, 4) && size == 4) return;
  for (unsigned i = 0; i < size; ++i) {
    WritePortByte(static_cast<uint16_t>(port + i), static_cast<uint8_t>(value >> (8 * i)));
  }
}

uint8_t Platform::ReadPortByte(uint16_t port) {
  if (In(port, layout::kCom1, layout::kUartPorts)) return uart_.Read(port - layout::kCom1);
  if (In(port, layout::kPicMaster, layout::kPicPorts))
    return pic_.Read(false, port - layout::kPicMaster);
  if (In(port, layout::kPicSlave, layout::kPicPorts))
    return pic_.Read(true, port - layout::kPicSlave);
  if (In(port, layout::kPit, layout::kPitPorts)) return pit_.Read(port - layout::kPit);
  if (In(port, layout::kRtc, layout::kRtcPorts)) return rtc_.Read(port - layout::kRtc);
  if (In(port, layout::kPm1Event, layout::kPmPorts))
    return static_cast<uint8_t>(pm_.Read(port - layout::kPm1Event, 1));
  if (In(port, layout::kTestRegister, layout::kTestRegisterPorts))
    return test_device_.ReadRegister(port - layout::kTestRegister);
  switch (port) {
    case layout::kSystemControlB:
      return pit_.ReadControlB();
    case layout::kSystemControlA:
      return kA20;
    case layout::kFirmwareData:
      return firmware_config_.ReadData();
    case layout::kElcr:
      return pic_.ReadElcr(false);
    case layout::kElcr + 1:
      return pic_.ReadElcr(true);
    default:
      return 0xff;  // nobody answers
  }
}

void Platform::WritePortByte(uint16_t port, uint8_t value) {
  if (In(port, layout::kCom1, layout::kUartPorts)) return uart_.Write(port - layout::kCom1, value);
  if (In(port, layout::kPicMaster, layout::kPicPorts))
    return pic_.Write(false, port - layout::kPicMaster, value);
  if (In(port, layout::kPicSlave, layout::kPicPorts))
    return pic_.Write(true, port - layout::kPicSlave, value);
  if (In(port, layout::kPit, layout::kPitPorts)) return pit_.Write(port - layout::kPit, value);
  if (In(port, layout::kRtc, layout::kRtcPorts)) return rtc_.Write(port - layout::kRtc, value);
  if (In(port, layout::kTestRegister, layout::kTestRegisterPorts))
    return test_device_.WriteRegister(port - layout::kTestRegister, value);
  switch (port) {
    case layout::kSystemControlB:
      return pit_.WriteControlB(value);
    case layout::kSystemControlA:
      if (value & kFastReset) observer_.on_reset("port 0x92");
      return;
    case layout::kElcr:
      return pic_.WriteElcr(false, value);
    case layout::kElcr + 1:
      return pic_.WriteElcr(true, value);
    case layout::kKeyboardCommand:
      if (value == kPulseReset) observer_.on_reset("the keyboard controller");
      return;
    case layout::kResetControl:
      if (value & kResetControlGo) observer_.on_reset("port 0xcf9");
      return;
    default:
      return;
  }
}

// ---- Memory-mapped devices ----

uint64_t Platform::ReadMmio(uint32_t vcpu, uint64_t gpa, unsigned size) {
  uint32_t offset;
  if (apics_[vcpu]->InPage(gpa, &offset)) return apics_[vcpu]->ReadPage(offset);
  if (In(gpa, layout::kIoApicBase, layout::kIoApicSize)) {
    return io_apic_.Read(static_cast<uint32_t>(gpa - layout::kIoApicBase));
  }
  if (In(gpa, layout::kTestMemoryBase, TestDevice::kMemoryBytes)) {
    return test_device_.ReadMemory(gpa - layout::kTestMemoryBase, size);
  }
  return size == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * size)) - 1;
}

void Platform::WriteMmio(uint32_t vcpu, uint64_t gpa, unsigned size, uint64_t value) {
  uint32_t offset;
  if (apics_[vcpu]->InPage(gpa, &offset)) {
    apics_[vcpu]->WritePage(offset, static_cast<uint32_t>(value));
  } else if (In(gpa, layout::kIoApicBase, layout::kIoApicSize)) {
    io_apic_.Write(static_cast<uint32_t>(gpa - layout::kIoApicBase), static_cast<uint32_t>(value));
  } else if (In(gpa, layout::kTestMemoryBase, TestDevice::kMemoryBytes)) {
    test_device_.WriteMemory(gpa - layout::kTestMemoryBase, size, value);
  }
}

}  // namespace trapline::machine

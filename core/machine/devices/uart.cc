// SPDX-License-Identifier: Apache-2.0
// The 16550A's registers. What is sent is gone at once, so the transmitter is always empty.
#include "core/machine/devices/uart.h"

#include <algorithm>
#include <utility>

namespace trapline::machine {
namespace {

constexpr uint8_t kIerReceive = 1, kIerTransmit = 2, kIerModem = 8;
constexpr uint8_t kIirNone = 1, kIirTransmit = 2, kIirReceive = 4, kIirTimeout = 0xc, kIirModem = 0,
                  kIirFifo = 0xc0;
constexpr uint8_t kLcrDivisor = 0x80;
constexpr uint8_t kMcrLoop = 0x10;
constexpr uint8_t kLsrReady = 1, kLsrEmpty = 0x60;
constexpr uint8_t kMsrConnected = 0xb0;  // CTS, DSR, DCD
constexpr uint8_t kMsrRing = 0x40;
constexpr size_t kFifo = 16, kTriggers[] = {1, 4, 8, 14};  // bytes
constexpr uint8_t kFcrEnable = 1, kFcrClearReceive = 2;

}  // namespace

Uart::Uart(std::function<void(bool)> set_line, std::function<void(std::string_view)> on_output)
    : set_line_(std::move(set_line)), on_output_(std::move(on_output)) {}

void Uart::Reset() {
  {
    absl::MutexLock lock(&mutex_);
    input_.clear();
    ier_ = lcr_ = mcr_ = scratch_ = 0;
    divisor_ = 1;
    fifo_ = thr_interrupt_ = false;
    trigger_ = 1;
    modem_delta_ = 0;
  }
  DriveLine();
}

uint8_t Uart::InterruptIdLocked() const {
  if ((ier_ & kIerReceive) && !input_.empty()) {
    // Too little for the trigger waits four characters' time, which is none
    // here.
    return fifo_ && input_.size() < trigger_ ? kIirTimeout : kIirReceive;
  }
  if ((ier_ & kIerTransmit) && thr_interrupt_) return kIirTransmit;
  if ((ier_ & kIerModem) && modem_delta_) return kIirModem;
  return kIirNone;
}

uint8_t Uart::ModemInputsLocked() const {
  if (!(mcr_ & kMcrLoop)) return kMsrConnected;
  // Loopback: DTR RTS OUT1 OUT2 come back as DSR CTS RI DCD.
  return static_cast<uint8_t>((mcr_ & 2) << 3 | (mcr_ & 1) << 5 | (mcr_ & 4) << 4 |
                              (mcr_ & 8) << 4);
}

// What is queued behind the FIFO is still on its way.
void Uart::ClearFifoLocked() {
  size_t held = std::min(input_.size(), kFifo);
  input_.erase(input_.begin(), input_.begin() + static_cast<ptrdiff_t>(held));
}

void Uart::DriveLine() {
  absl::MutexLock order(&line_mutex_);
  bool high;
  {
    absl::MutexLock lock(&mutex_);
    high = InterruptIdLocked() != kIirNone;
  }
  if (high == line_) return;
  line_ = high;
  set_line_(high);
}

uint8_t Uart::Read(unsigned offset) {
  uint8_t value;
  {
    absl::MutexLock lock(&mutex_);
    value = ReadLocked(offset);
  }
  DriveLine();
  return value;
}

uint8_t Uart::ReadLocked(unsigned offset) {
  switch (offset) {
    case 0:
      if (lcr_ & kLcrDivisor) return static_cast<uint8_t>(divisor_);
      if (input_.empty()) return 0;
      {
        uint8_t byte = input_.front();
        input_.pop_front();
        return byte;
      }
    case 1:
      return lcr_ & kLcrDivisor ? static_cast<uint8_t>(divisor_ >> 8) : ier_;
    case 2: {
      uint8_t id = InterruptIdLocked();
      if (id == kIirTransmit) thr_interrupt_ = false;
      return id | (fifo_ ? kIirFifo : 0);
    }
    case 3:
      return lcr_;
    case 4:
      return mcr_;
    case 5:
      return kLsrEmpty | (input_.empty() ? 0 : kLsrReady);
    case 6:
      return ModemInputsLocked() | std::exchange(modem_delta_, 0);
    default:
      return scratch_;
  }
}

void Uart::Write(unsigned offset, uint8_t value) {
  std::string output;
  {
    absl::MutexLock lock(&mutex_);
    WriteLocked(offset, value, &output);
  }
  if (!output.empty()) on_output_(output);
  DriveLine();
}

void Uart::WriteLocked(unsigned offset, uint8_t value, std::string* output) {
  switch (offset) {
    case 0:
      if (lcr_ & kLcrDivisor) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0xff00) | value);
        return;
      }
      thr_interrupt_ = true;
      if (mcr_ & kMcrLoop) {
        if (input_.size() < kInputQueue) input_.push_back(value);
      } else {
        output->push_back(static_cast<char>(value));
      }
      return;
    case 1:
      if (lcr_ & kLcrDivisor) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0xff) | value << 8);
        return;
      }
      // Enabling the transmitter's interrupt while it is empty raises it.
      if ((value & kIerTransmit) && !(ier_ & kIerTransmit)) thr_interrupt_ = true;
      ier_ = value & 0xf;
      return;
    case 2:
      // Changing the mode clears the FIFOs; the other bits count only beside the
      // first.
      if (fifo_ != static_cast<bool>(value & kFcrEnable)) ClearFifoLocked();
      fifo_ = value & kFcrEnable;
      if (!fifo_) return;
      if (value & kFcrClearReceive) ClearFifoLocked();
      trigger_ = kTriggers[value >> 6];
      return;
    case 3:
      lcr_ = value;
      return;
    case 4: {
      uint8_t before = ModemInputsLocked();
      mcr_ = value & 0x1f;
      uint8_t after = ModemInputsLocked();
      // The ring indicator tells of its end only.
      uint8_t changed = ((before ^ after) & ~kMsrRing) | (before & ~after & kMsrRing);
      modem_delta_ |= changed >> 4;
      return;
    }
    case 7:
      scratch_ = value;
      return;
    default:
      return;
  }
}

size_t Uart::Receive(std::string_view bytes) {
  size_t taken;
  {
    absl::MutexLock lock(&mutex_);
    taken = std::min(bytes.size(), kInputQueue - std::min(kInputQueue, input_.size()));
    input_.insert(input_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(taken));
  }
  DriveLine();
  return taken;
}

}  // namespace trapline::machine

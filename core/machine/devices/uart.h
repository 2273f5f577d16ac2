// SPDX-License-Identifier: Apache-2.0
// A 16550A serial port (National Semiconductor PC16550D datasheet).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace trapline::machine {

// Thread-safe. The callbacks are called without the device's lock held.
class Uart {
 public:
  static constexpr size_t kInputQueue = 1 << 16;

  // set_line drives the interrupt line, on_output takes what the guest sends.
  Uart(std::function<void(bool)> set_line, std::function<void(std::string_view)> on_output);

  void Reset();
  uint8_t Read(unsigned offset);
  void Write(unsigned offset, uint8_t value);
  // Queues bytes for the guest; says how many fitted.
  size_t Receive(std::string_view bytes);

 private:
  uint8_t ReadLocked(unsigned offset) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteLocked(unsigned offset, uint8_t value, std::string* output)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint8_t InterruptIdLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint8_t ModemInputsLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ClearFifoLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DriveLine();

  const std::function<void(bool)> set_line_;
  const std::function<void(std::string_view)> on_output_;
  absl::Mutex mutex_;
  // Orders changes of the line; taken before mutex_.
  absl::Mutex line_mutex_;
  bool line_ ABSL_GUARDED_BY(line_mutex_) = false;
  std::deque<uint8_t> input_ ABSL_GUARDED_BY(mutex_);
  uint8_t ier_ ABSL_GUARDED_BY(mutex_) = 0, lcr_ ABSL_GUARDED_BY(mutex_) = 0,
               mcr_ ABSL_GUARDED_BY(mutex_) = 0, scratch_ ABSL_GUARDED_BY(mutex_) = 0;
  uint16_t divisor_ ABSL_GUARDED_BY(mutex_) = 1;
  bool fifo_ ABSL_GUARDED_BY(mutex_) = false;
  size_t trigger_ ABSL_GUARDED_BY(mutex_) = 1;       // of the receiver, in bytes
  uint8_t modem_delta_ ABSL_GUARDED_BY(mutex_) = 0;  // modem inputs that changed
  bool thr_interrupt_ ABSL_GUARDED_BY(mutex_) =
      false;  // the transmitter became empty and nobody knows yet
};

}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// What guests that test a hypervisor look for on a board: a port that reads as it was written, a
// page of device memory that does the same, and interrupt lines to pull. Registers and places are
// those of QEMU's pc-testdev (QEMU, hw/misc/pc-testdev.c), which kvm-unit-tests was written for.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace trapline::machine {

// Thread-safe. set_line is called with no lock held.
class TestDevice {
 public:
  static constexpr uint64_t kMemoryBytes = 64 * 1024;

  explicit TestDevice(std::function<void(uint8_t line, bool high)> set_line)
      : set_line_(std::move(set_line)) {}

  void Reset();
  // The register; offset 0 to 3, a byte at a time.
  uint8_t ReadRegister(unsigned offset);
  void WriteRegister(unsigned offset, uint8_t value);
  void SetLine(uint8_t line, bool high) { set_line_(line, high); }
  // The memory; size 1 to 8. What is behind its end reads as ones and cannot be written.
  uint64_t ReadMemory(uint64_t offset, unsigned size);
  void WriteMemory(uint64_t offset, unsigned size, uint64_t value);

 private:
  std::function<void(uint8_t, bool)> set_line_;
  absl::Mutex mutex_;
  std::array<uint8_t, 4> register_ ABSL_GUARDED_BY(mutex_){};
  // Empty, which reads as zeros, until somebody writes: most guests never do.
  std::vector<uint8_t> memory_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trapline::machine

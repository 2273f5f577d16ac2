// SPDX-License-Identifier: Apache-2.0
// The register and the memory of the test device.
#include "core/machine/devices/test_device.h"

namespace trapline::machine {

void TestDevice::Reset() {
  absl::MutexLock lock(&mutex_);
  register_.fill(0);
  memory_.clear();
}

uint8_t TestDevice::ReadRegister(unsigned offset) {
  absl::MutexLock lock(&mutex_);
  return register_[offset];
}

void TestDevice::WriteRegister(unsigned offset, uint8_t value) {
  absl::MutexLock lock(&mutex_);
  register_[offset] = value;
}

uint64_t TestDevice::ReadMemory(uint64_t offset, unsigned size) {
  absl::MutexLock lock(&mutex_);
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    uint8_t byte = 0xff;
    if (offset + i < kMemoryBytes) byte = memory_.empty() ? 0 : memory_[offset + i];
    value |= static_cast<uint64_t>(byte) << (8 * i);
  }
  return value;
}

void TestDevice::WriteMemory(uint64_t offset, unsigned size, uint64_t value) {
  absl::MutexLock lock(&mutex_);
  if (memory_.empty()) memory_.resize(kMemoryBytes);
  for (unsigned i = 0; i < size && offset + i < kMemoryBytes; ++i) {
    memory_[offset + i] = static_cast<uint8_t>(value >> (8 * i));
  }
}

}  // namespace trapline::machine

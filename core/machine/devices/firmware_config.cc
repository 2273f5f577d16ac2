// SPDX-License-Identifier: Apache-2.0
// The items of the firmware configuration.
#include "core/machine/devices/firmware_config.h"

namespace trapline::machine {

void FirmwareConfig::Select(uint16_t key) {
  absl::MutexLock lock(&mutex_);
  key_ = key;
  offset_ = 0;
}

uint8_t FirmwareConfig::ReadData() {
  absl::MutexLock lock(&mutex_);
  uint64_t value = 0;
  switch (key_) {
    case kRamSize:
      value = memory_bytes_;
      break;
    case kVcpus:
    case kMaxVcpus:
      value = vcpus_;
      break;
    default:
      break;
  }
  if (offset_ >= sizeof value) return 0;
  return static_cast<uint8_t>(value >> (8 * offset_++));
}

}  // namespace trapline::machine

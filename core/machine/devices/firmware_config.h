// SPDX-License-Identifier: Apache-2.0
// A few answers about the machine by the selector and data ports of QEMU's fw_cfg (QEMU,
// docs/specs/fw_cfg.rst), for guests without firmware that know no other way to ask how many
// processors there are.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace trapline::machine {

// Thread-safe. It answers the keys below alone, every other reads as zero; there is no signature,
// since no files and no DMA are behind it.
class FirmwareConfig {
 public:
  static constexpr uint16_t kRamSize = 0x03;   // 8 bytes
  static constexpr uint16_t kVcpus = 0x05;     // 2 bytes
  static constexpr uint16_t kMaxVcpus = 0x0f;  // 2 bytes

  FirmwareConfig(uint32_t vcpus, uint64_t memory_bytes)
      : vcpus_(vcpus), memory_bytes_(memory_bytes) {}

  void Reset() { Select(0); }
  // The item that is read from here on, from its first byte.
  void Select(uint16_t key);
  // The item's next byte, little-endian; zero behind its end.
  uint8_t ReadData();

 private:
  const uint32_t vcpus_;
  const uint64_t memory_bytes_;
  absl::Mutex mutex_;
  uint16_t key_ ABSL_GUARDED_BY(mutex_) = 0;
  unsigned offset_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace trapline::machine

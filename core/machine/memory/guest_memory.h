// SPDX-License-Identifier: Apache-2.0
// A VM's RAM: one sparse memfd, mapped once, with a hole below 4 GiB for devices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/unique_fd.h"

namespace trapline::machine {

// RAM reaches to here at the most before the hole, and goes on behind it.
constexpr uint64_t kLowRamEnd = uint64_t{3} << 30;
constexpr uint64_t kHighRamStart = uint64_t{4} << 30;
constexpr uint64_t kMaxRam = uint64_t{64} << 30;

// A piece of guest-physical address space backed by RAM.
struct RamRegion {
  uint64_t gpa;
  uint64_t size;
  std::byte* host;
};

// Guest-physical addresses [start, end).
struct RamRange {
  uint64_t start, end;
};

// Thread-safe as far as memory itself is: the guest may change any byte at any time.
class GuestMemory {
 public:
  // size: a multiple of 4 KiB, at most kMaxRam. INVALID_ARGUMENT for other sizes,
  // RESOURCE_EXHAUSTED where the host has no room.
  static absl::StatusOr<std::unique_ptr<GuestMemory>> Create(uint64_t size);
  ~GuestMemory();

  uint64_t size() const { return size_; }
  // The descriptor of the memfd; RAM lies in it without the hole.
  int fd() const { return fd_.get(); }
  std::span<const RamRegion> regions() const { return regions_; }

  // The host address of [gpa, gpa + size) where that is RAM in one piece, else null.
  std::byte* Find(uint64_t gpa, uint64_t size) const;

  // The same for what the host writes on the guest's behalf: null also where the guest itself may
  // not write. Write is the loader's and does not ask.
  std::byte* FindWritable(uint64_t gpa, uint64_t size) const;
  // From now on the guest may not write there, nor the host for it. While no vCPU runs.
  void SetReadOnly(std::vector<RamRange> ranges) { read_only_ = std::move(ranges); }

  // OUT_OF_RANGE unless [gpa, gpa + size) is RAM in one piece.
  absl::Status Read(uint64_t gpa, std::span<std::byte> bytes) const;
  absl::Status Write(uint64_t gpa, std::span<const std::byte> bytes);

  // Gives all pages back to the host; RAM reads as zero again.
  absl::Status Clear();

 private:
  GuestMemory() = default;

  base::UniqueFd fd_;
  uint64_t size_ = 0;
  std::byte* base_ = nullptr;
  std::vector<RamRegion> regions_;
  std::vector<RamRange> read_only_;
};

}  // namespace trapline::machine

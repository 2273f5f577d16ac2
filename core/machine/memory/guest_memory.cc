// SPDX-License-Identifier: Apache-2.0
// Guest RAM over a memfd.
#include "core/machine/memory/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/checked.h"

namespace trapline::machine {
namespace {

constexpr uint64_t kPageMask = 4095;

}  // namespace

absl::StatusOr<std::unique_ptr<GuestMemory>> GuestMemory::Create(uint64_t size) {
  if (size == 0 || size > kMaxRam || (size & kPageMask)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "memory of ", size, " bytes: it must be a multiple of 4096, at most ", kMaxRam));
  }
  auto memory = std::unique_ptr<GuestMemory>(new GuestMemory);
  memory->size_ = size;
  memory->fd_ = base::UniqueFd(memfd_create("guest-ram", MFD_CLOEXEC));
  if (!memory->fd_.valid() || ftruncate(memory->fd_.get(), static_cast<off_t>(size)) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("guest memory: ", strerror(errno)));
  }
  void* base =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory->fd_.get(), 0);
  if (base == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("guest memory: ", strerror(errno)));
  }
  memory->base_ = static_cast<std::byte*>(base);
  uint64_t low = std::min(size, kLowRamEnd);
  memory->regions_.push_back({0, low, memory->base_});
  if (size > low) memory->regions_.push_back({kHighRamStart, size - low, memory->base_ + low});
  return memory;
}

GuestMemory::~GuestMemory() {
  if (base_) munmap(base_, size_);
}

std::byte* GuestMemory::Find(uint64_t gpa, uint64_t size) const {
  for (const RamRegion& region : regions_) {
    if (gpa >= region.gpa && base::RangeFits(gpa - region.gpa, size, region.size)) {
      return region.host + (gpa - region.gpa);
    }
  }
  return nullptr;
}

std::byte* GuestMemory::FindWritable(uint64_t gpa, uint64_t size) const {
  std::byte* host = Find(gpa, size);
  for (const RamRange& range : read_only_) {
    if (gpa < range.end && size > 0 && range.start < gpa + size) return nullptr;
  }
  return host;
}

absl::Status GuestMemory::Read(uint64_t gpa, std::span<std::byte> bytes) const {
  const std::byte* host = Find(gpa, bytes.size());
  if (!host) {
    return absl::OutOfRangeError(
        absl::StrCat("0x", absl::Hex(gpa), " + ", bytes.size(), " bytes is not RAM"));
  }
  std::memcpy(bytes.data(), host, bytes.size());
  return absl::OkStatus();
}

absl::Status GuestMemory::Write(uint64_t gpa, std::span<const std::byte> bytes) {
  std::byte* host = Find(gpa, bytes.size());
  if (!host) {
    return absl::OutOfRangeError(
        absl::StrCat("0x", absl::Hex(gpa), " + ", bytes.size(), " bytes is not RAM"));
  }
  std::memcpy(host, bytes.data(), bytes.size());
  return absl::OkStatus();
}

absl::Status GuestMemory::Clear() {
  if (fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                static_cast<off_t>(size_)) != 0) {
    return absl::InternalError(absl::StrCat("clearing guest memory: ", strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace trapline::machine

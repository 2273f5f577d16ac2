// SPDX-License-Identifier: Apache-2.0
// A shared mapping of a file that other processes can change, cut short or leave without a disk.
//
// Touching a page of a mapping that the kernel cannot supply (behind the file's end, or a hole that
// the full file system cannot fill) raises SIGBUS, which would end the process and all its VMs. A
// handler that is put in with the first mapping puts a page of zeros in that place instead, for
// this mapping alone and for good. A SIGBUS anywhere else does what it did before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

namespace trapline::base {

// The mapping, gone with the object. Thread-safe as far as the memory itself is.
class MappedFile {
 public:
  enum class Mode { kRead, kReadWrite };

  // Maps size bytes, at least one, of fd from its start; fd can be closed then. UNAVAILABLE with
  // the reason where the kernel refuses, RESOURCE_EXHAUSTED where there is no memory or address
  // space, or this process has too many.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Map(int fd, uint64_t size, Mode mode);
  ~MappedFile();

  std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }

 private:
  MappedFile(std::byte* data, uint64_t size, size_t slot) : data_(data), size_(size), slot_(slot) {}

  std::byte* const data_;
  const uint64_t size_;
  const size_t slot_;
};

}  // namespace trapline::base

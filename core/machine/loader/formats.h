// SPDX-License-Identifier: Apache-2.0
// The image formats: how each is recognised and loaded. For LoadImage alone; see image.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "core/machine/loader/image.h"

namespace trapline::machine {

bool IsBzImage(std::span<const std::byte> image);
absl::StatusOr<LoadedImage> LoadBzImage(GuestMemory& memory, const ImageSpec& spec, uint64_t rsdp);

// The offset of the Multiboot header, if there is one.
std::optional<uint64_t> FindMultiboot(std::span<const std::byte> image);
absl::StatusOr<LoadedImage> LoadMultiboot(GuestMemory& memory, const ImageSpec& spec,
                                          uint64_t header_offset);

bool IsElf(std::span<const std::byte> image);
absl::StatusOr<LoadedImage> LoadElf64(GuestMemory& memory, const ImageSpec& spec);

// Guest-physical addresses [start, end).
struct Range {
  uint64_t start, end;

  bool Overlaps(const Range& other) const { return start < other.end && other.start < end; }
};

// What an ELF file asks to be put into memory, its symbols, and the version of our ABI that its
// note asks for.
struct ElfContents {
  bool is_64 = false;
  uint64_t entry = 0;
  std::vector<Segment> segments;  // disjoint, at least one
  std::vector<Symbol> symbols;
  std::optional<uint32_t> abi_version;
};
// Copies all PT_LOAD segments to their physical addresses. reserved: where none may lie.
absl::StatusOr<ElfContents> LoadElfSegments(GuestMemory& memory, std::span<const std::byte> image,
                                            const Range& reserved);

}  // namespace trapline::machine

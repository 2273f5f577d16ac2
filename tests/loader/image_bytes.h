// SPDX-License-Identifier: Apache-2.0
// Made-up guest images: small, right in every field, and easily made wrong in one of them.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/machine/loader/image.h"
#include "core/machine/memory/guest_memory.h"

namespace trapline::machine {

using ImageBytes = std::vector<std::byte>;

constexpr uint64_t kTestMemory = uint64_t{64} << 20;

// Clean memory of kTestMemory bytes.
std::unique_ptr<GuestMemory> TestMemory(uint64_t size = kTestMemory);

// Puts value at offset, which lies within bytes.
template <typename T>
void Poke(ImageBytes& bytes, uint64_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}
// The T at a guest-physical address of RAM.
template <typename T>
T Peek(const GuestMemory& memory, uint64_t gpa) {
  T value{};
  if (const std::byte* host = memory.Find(gpa, sizeof value))
    std::memcpy(&value, host, sizeof value);
  return value;
}
// The zero-terminated text at a guest-physical address.
std::string PeekText(const GuestMemory& memory, uint64_t gpa);

// A bzImage of protocol 2.15 with four setup sectors, to be loaded at 16 MiB; its code is 4 KiB of
// 0x5a.
ImageBytes MakeBzImage();

// An ELF64 executable with a code segment at 2 MiB, a data segment at 3 MiB whose second half is
// not in the file, and a symbol table with the functions `start` and `finish`.
struct Elf64Layout {
  static constexpr uint64_t kCode = 0x200000, kData = 0x300000, kCodeSize = 0x100,
                            kDataFileSize = 0x80, kDataSize = 0x100;
};
ImageBytes MakeElf64();
// Its headers, to be changed in place. The bytes must outlive them.
Elf64_Ehdr& HeaderOf(ImageBytes& elf);
Elf64_Phdr& SegmentOf(ImageBytes& elf, unsigned index);
Elf64_Shdr& SectionOf(ImageBytes& elf, unsigned index);
// Appends a PT_NOTE segment with one note.
void AddNote(ImageBytes& elf, std::string_view owner, uint32_t type);

// A Multiboot 1 header with these flags, checksum included, at the start of 4 KiB of 0x5a; the
// address fields (flag 16) load all of it at 1 MiB and enter at 1 MiB + 0x100.
constexpr uint32_t kAddressFields = 1u << 16;
ImageBytes MakeMultiboot(uint32_t flags = kAddressFields);
// Puts a Multiboot header without address fields into the image at offset.
void PutMultibootHeader(ImageBytes& image, uint64_t offset, uint32_t flags = 0);
// An ELF32 executable with a Multiboot header and one segment of 0x100 bytes at address.
ImageBytes MakeElf32(uint32_t address);

// Loads image, with nothing beside it, into clean memory.
absl::StatusOr<LoadedImage> LoadAlone(const ImageBytes& image);
// What a refusal says.
std::string MessageOf(const absl::StatusOr<LoadedImage>& loaded);

}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// Guest images: what is loaded, and where a vCPU starts in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/machine/memory/guest_memory.h"
#include "core/x86/registers.h"

namespace trapline::machine {

struct ImageSpec {
  std::span<const std::byte> kernel;
  std::span<const std::byte> initrd;  // may be empty
  std::string command_line;
  uint32_t vcpus = 1;
  // What the image's file is called. A Multiboot image gets it as the first word of its command
  // line, as other loaders do it; may be empty, and is cut at 255 bytes.
  std::string name{};
};

enum class ImageKind { kBzImage, kElf64, kMultiboot };

// A name of code: it covers [address, address + size), which is never empty.
struct Symbol {
  uint64_t address;
  uint64_t size;
  std::string name;
  bool is_function = false;  // the table says so; otherwise it may be a label within one
};

// A segment as an ELF image asks for it: [gpa, gpa + size), and what the guest may do there.
struct Segment {
  uint64_t gpa, size;
  bool writable, executable;
};

struct LoadedImage {
  ImageKind kind;
  x86::Registers boot_registers;  // of the boot processor
  std::vector<Symbol> symbols;    // of its code, sorted by address; empty if it has none
  // What the image's ELF note of owner "Trapline" says, if it has one: it was written for our
  // paravirtual ABI (core/guest/abi.h).
  std::optional<uint32_t> abi_version{};
  std::vector<Segment> segments{};  // of an ELF64: disjoint, sorted by address
};

// Puts a bzImage (64-bit boot protocol), a Multiboot 1 image or an ELF64 into clean memory, with
// its command line, initrd, boot structures and ACPI tables. Everything in the image is untrusted.
// INVALID_ARGUMENT: the message names the header field that is wrong; it begins with "initrd:" or
// "command line:" where those do not fit. Thread-safe for distinct memories.
absl::StatusOr<LoadedImage> LoadImage(GuestMemory& memory, const ImageSpec& spec);

}  // namespace trapline::machine

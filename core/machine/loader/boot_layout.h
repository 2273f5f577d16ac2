// SPDX-License-Identifier: Apache-2.0
// What the loader itself puts into the first megabyte, and the entry states that it sets up there.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "core/machine/memory/guest_memory.h"
#include "core/x86/registers.h"

namespace trapline::machine {

constexpr uint64_t kBootGdt = 0x1000;
constexpr uint64_t kBootStack = 0x6000;       // grows down
constexpr uint64_t kBootInfo = 0x7000;        // boot_params, or the Multiboot information
constexpr uint64_t kBootPageTables = 0x9000;  // PML4, PDPT, four page directories, a page table
constexpr uint64_t kBootCommandLine = 0x20000;
constexpr uint64_t kMaxCommandLine = 2047;  // without the terminating zero
constexpr uint64_t kBiosData = 0x9fc00;     // from here to 1 MiB is not RAM to the guest
constexpr uint64_t kAcpiTables = 0xe0000;
constexpr uint64_t kHighMemory = 0x100000;
constexpr uint64_t kIdentityMapped = uint64_t{4} << 30;  // by the boot page tables

// INVALID_ARGUMENT if the command line is longer than kMaxCommandLine or holds a zero byte.
absl::Status CheckCommandLine(std::string_view command_line);
// Writes a checked command line to address, with its terminating zero.
absl::Status WriteCommandLine(GuestMemory& memory, std::string_view command_line,
                              uint64_t address = kBootCommandLine);

// Page tables that map the first 4 GiB one to one, and a GDT with flat segments: code at 0x10, data
// at 0x18.
absl::Status WriteBootTables(GuestMemory& memory);

// Takes page 0 out of those tables, so that a null pointer faults.
absl::Status UnmapPageZero(GuestMemory& memory);

// 64-bit mode at entry over those tables, interrupts off.
x86::Registers LongModeEntry(uint64_t entry);
// 32-bit protected mode at entry with flat segments, no paging, interrupts off.
x86::Registers ProtectedModeEntry(uint32_t entry);

}  // namespace trapline::machine

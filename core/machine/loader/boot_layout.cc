// SPDX-License-Identifier: Apache-2.0
// Boot tables and entry states.
#include "core/machine/loader/boot_layout.h"

#include "absl/strings/str_cat.h"
#include "core/machine/loader/bytes.h"
#include "core/x86/flags.h"
#include "core/x86/paging.h"

namespace trapline::machine {
namespace {

// Descriptors: null, null, 64-bit or 32-bit code, data.
constexpr uint64_t kCode64 = 0x00af9b000000ffff, kCode32 = 0x00cf9b000000ffff,
                   kData = 0x00cf93000000ffff;
constexpr uint16_t kCodeSelector = 0x10, kDataSelector = 0x18;
constexpr uint16_t kGdtLimit = 4 * 8 - 1;

constexpr uint64_t kGigabytes = 4;
constexpr uint64_t kEntries = 512, kLargePage = uint64_t{2} << 20;

x86::Segment Flat(uint16_t selector, uint64_t descriptor) {
  return {selector, static_cast<uint16_t>((descriptor >> 40) & 0xf0ff), 0xffffffff, 0};
}

x86::Registers Entry(uint64_t rip, uint64_t code) {
  x86::Registers r = x86::ResetState();
  r.rip = rip;
  r.segment[x86::kCs] = Flat(kCodeSelector, code);
  for (auto name : {x86::kDs, x86::kEs, x86::kSs, x86::kFs, x86::kGs})
    r.segment[name] = Flat(kDataSelector, kData);
  r.gdtr = {kBootGdt, kGdtLimit};
  r.idtr = {0, 0};
  r.cr0 = x86::cr0::kPe | x86::cr0::kEt | x86::cr0::kNe;
  r.gpr[x86::kRsp] = kBootStack;
  return r;
}

}  // namespace

absl::Status CheckCommandLine(std::string_view command_line) {
  if (command_line.size() > kMaxCommandLine) {
    return absl::InvalidArgumentError(
        absl::StrCat("command line: ", command_line.size(), " bytes, at most ", kMaxCommandLine));
  }
  if (command_line.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError("command line: holds a zero byte");
  }
  return absl::OkStatus();
}

absl::Status WriteCommandLine(GuestMemory& memory, std::string_view command_line,
                              uint64_t address) {
  auto status = memory.Write(address, std::as_bytes(std::span(command_line)));
  const std::byte zero{};
  if (status.ok()) status = memory.Write(address + command_line.size(), {&zero, 1});
  return status;
}

absl::Status WriteBootTables(GuestMemory& memory) {
  const uint64_t gdt[] = {0, 0, kCode64, kData};
  auto status = memory.Write(kBootGdt, std::as_bytes(std::span(gdt)));
  if (!status.ok()) return status;

  namespace pte = x86::pte;
  constexpr uint64_t kTable = pte::kPresent | pte::kWritable;
  uint64_t pdpt = kBootPageTables + x86::kPageSize, directories = pdpt + x86::kPageSize;
  status = memory.Write(kBootPageTables, BytesOf(pdpt | kTable));
  for (uint64_t i = 0; status.ok() && i < kGigabytes; ++i) {
    uint64_t directory = directories + i * x86::kPageSize;
    status = memory.Write(pdpt + 8 * i, BytesOf(directory | kTable));
    for (uint64_t j = 0; status.ok() && j < kEntries; ++j) {
      uint64_t entry = (i * kEntries + j) * kLargePage | kTable | pte::kPageSizeBit;
      status = memory.Write(directory + 8 * j, BytesOf(entry));
    }
  }
  return status;
}

absl::Status UnmapPageZero(GuestMemory& memory) {
  namespace pte = x86::pte;
  constexpr uint64_t kTable = pte::kPresent | pte::kWritable;
  // Behind PML4, PDPT and the page directories, whose first entry leads there.
  constexpr uint64_t kDirectory = kBootPageTables + 2 * x86::kPageSize;
  constexpr uint64_t kPageTable = kDirectory + kGigabytes * x86::kPageSize;
  absl::Status status = memory.Write(kDirectory, BytesOf(kPageTable | kTable));
  for (uint64_t i = 1; status.ok() && i < kEntries; ++i)
    status = memory.Write(kPageTable + 8 * i, BytesOf(i * x86::kPageSize | kTable));
  return status;
}

x86::Registers LongModeEntry(uint64_t entry) {
  x86::Registers r = Entry(entry, kCode64);
  r.cr0 |= x86::cr0::kPg | x86::cr0::kWp;
  r.cr3 = kBootPageTables;
  r.cr4 = x86::cr4::kPae;
  r.efer = x86::efer::kLme | x86::efer::kLma;
  return r;
}

x86::Registers ProtectedModeEntry(uint32_t entry) { return Entry(entry, kCode32); }

}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// Multiboot 1 (Multiboot Specification 0.6.96): 32-bit protected-mode entry, from an ELF file or
// from the address fields.
//
// Such images may lie below 1 MiB, as small ones like to, so the information for them has no fixed
// place: it goes to two free pages that no segment touches. The GDT at entry may be overwritten by
// the image; the specification promises the segments' hidden parts alone.
#include <algorithm>
#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/machine/loader/boot_layout.h"
#include "core/machine/loader/bytes.h"
#include "core/machine/loader/formats.h"
#include "core/x86/paging.h"

namespace trapline::machine {
namespace {

constexpr uint32_t kMagic = 0x1badb002, kBootMagic = 0x2badb002;
constexpr uint64_t kSearch = 8192;
constexpr uint32_t kWantsAddresses = 1 << 16, kUnknownRequired = 0xfff8;

struct Header {
  uint32_t magic, flags, checksum;
};
struct Addresses {
  uint32_t header, load, load_end, bss_end, entry;
};

constexpr uint32_t kInfoMemory = 1, kInfoCommandLine = 1 << 2, kInfoModules = 1 << 3,
                   kInfoMap = 1 << 6, kInfoName = 1 << 9;
struct Information {
  uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4],
      mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name, apm_table,
      vbe[4];
};
struct Module {
  uint32_t start, end, string, reserved;
};
struct __attribute__((packed)) MapEntry {
  uint32_t size;
  uint64_t address, length;
  uint32_t type;
};

// Within the two pages of the information.
constexpr uint64_t kMap = 0x200, kModule = 0x400, kName = 0x500, kCommandLine = 0x1000,
                   kInformationSize = 0x2000;
constexpr size_t kMaxName = 255;
static_assert(kCommandLine + kMaxName + 1 + kMaxCommandLine + 1 <= kInformationSize);
// Firmware's area and the ACPI tables: nothing of the image may lie there.
constexpr Range kReserved{kBiosData, kHighMemory};
constexpr std::string_view kLoaderName = "trapline";

absl::Status Bad(absl::string_view field, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("Multiboot: ", field, ": ", why));
}

// Loads by the header's address fields; what was taken.
absl::StatusOr<Range> LoadByAddresses(GuestMemory& memory, std::span<const std::byte> image,
                                      uint64_t offset, uint32_t* entry) {
  auto a = ReadAt<Addresses>(image, offset + sizeof(Header));
  if (!a) return Bad("header_addr", "the file ends before the address fields do");
  if (a->load > a->header || a->header - a->load > offset)
    return Bad("load_addr", "the load address lies before the file");
  uint64_t start = offset - (a->header - a->load);
  uint64_t size = image.size() - start;
  if (a->load_end != 0) {
    if (a->load_end < a->load || a->load_end - a->load > size)
      return Bad("load_end_addr", "behind the end of the file");
    size = a->load_end - a->load;
  }
  uint64_t end = a->load + size;
  if (a->bss_end != 0) {
    if (a->bss_end < end) return Bad("bss_end_addr", "before the end of the loaded data");
    end = a->bss_end;
  }
  if (!memory.Find(a->load, end - a->load)) return Bad("load_addr", "not in the VM's memory");
  if (Range{a->load, end}.Overlaps(kReserved))
    return Bad("load_addr", "overlaps the boot structures below 1 MiB");
  if (a->entry < a->load || a->entry >= end) return Bad("entry_addr", "not in the loaded image");
  *entry = a->entry;
  auto status = memory.Write(a->load, image.subspan(start, size));
  if (!status.ok()) return status;
  return Range{a->load, end};
}

// Two pages below 1 MiB that no segment touches, or else those behind the image; for a module,
// those behind the image.
absl::StatusOr<uint64_t> FindRoom(GuestMemory& memory, std::span<const Range> taken, uint64_t size,
                                  uint64_t first) {
  uint64_t end = 0;
  for (const Range& range : taken) end = std::max(end, range.end);
  for (uint64_t at = first; at + size <= kBiosData; at += x86::kPageSize) {
    Range room{at, at + size};
    if (std::none_of(taken.begin(), taken.end(),
                     [&](const Range& range) { return range.Overlaps(room); }))
      return at;
  }
  auto behind = base::CheckedAlignUp(std::max(end, kHighMemory), x86::kPageSize);
  if (!behind || *behind >= kLowRamEnd || !memory.Find(*behind, size)) {
    return absl::ResourceExhaustedError(
        absl::StrCat(size, " bytes do not fit into memory behind the image"));
  }
  return *behind;
}

std::string CommandLineWithName(const ImageSpec& spec) {
  if (spec.name.empty()) return spec.command_line;
  std::string line = spec.name.substr(0, kMaxName);
  if (!spec.command_line.empty()) line.append(" ").append(spec.command_line);
  return line;
}

// Writes the information and the module; where the information is.
absl::StatusOr<uint64_t> WriteInformation(GuestMemory& memory, const ImageSpec& spec,
                                          std::vector<Range> taken) {
  auto room = FindRoom(memory, taken, kInformationSize, kBootInfo);
  if (!room.ok()) return Bad("header", room.status().message());
  uint64_t base = *room;
  taken.push_back({base, base + kInformationSize});
  Information info{};
  info.flags = kInfoMemory | kInfoCommandLine | kInfoMap | kInfoName;
  uint64_t low_end = memory.regions()[0].size;
  info.mem_lower = static_cast<uint32_t>(kBiosData / 1024);
  info.mem_upper = static_cast<uint32_t>((low_end - kHighMemory) / 1024);
  info.cmdline = static_cast<uint32_t>(base + kCommandLine);
  info.boot_loader_name = static_cast<uint32_t>(base + kName);
  std::vector<MapEntry> map = {{sizeof(MapEntry) - 4, 0, kBiosData, 1},
                               {sizeof(MapEntry) - 4, kBiosData, kHighMemory - kBiosData, 2}};
  for (const RamRegion& region : memory.regions()) {
    uint64_t start = region.gpa == 0 ? kHighMemory : region.gpa;
    map.push_back({sizeof(MapEntry) - 4, start, region.gpa + region.size - start, 1});
  }
  info.mmap_addr = static_cast<uint32_t>(base + kMap);
  info.mmap_length = static_cast<uint32_t>(map.size() * sizeof(MapEntry));
  if (!spec.initrd.empty()) {
    auto address = FindRoom(memory, taken, spec.initrd.size(), kBiosData);
    if (!address.ok())
      return absl::InvalidArgumentError(absl::StrCat("initrd: ", address.status().message()));
    auto status = memory.Write(*address, spec.initrd);
    if (!status.ok()) return status;
    Module module{static_cast<uint32_t>(*address),
                  static_cast<uint32_t>(*address + spec.initrd.size()), info.cmdline, 0};
    status = memory.Write(base + kModule, BytesOf(module));
    if (!status.ok()) return status;
    info.flags |= kInfoModules;
    info.mods_count = 1;
    info.mods_addr = static_cast<uint32_t>(base + kModule);
  }
  auto status = memory.Write(base + kMap, std::as_bytes(std::span(map)));
  if (status.ok()) status = memory.Write(base + kName, std::as_bytes(std::span(kLoaderName)));
  if (status.ok()) {
    status = WriteCommandLine(memory, CommandLineWithName(spec), base + kCommandLine);
  }
  if (status.ok()) status = memory.Write(base, BytesOf(info));
  if (!status.ok()) return status;
  return base;
}

}  // namespace

std::optional<uint64_t> FindMultiboot(std::span<const std::byte> image) {
  for (uint64_t offset = 0; offset + sizeof(Header) <= std::min<uint64_t>(image.size(), kSearch);
       offset += 4) {
    auto header = ReadAt<Header>(image, offset);
    if (header && header->magic == kMagic && header->magic + header->flags + header->checksum == 0)
      return offset;
  }
  return std::nullopt;
}

absl::StatusOr<LoadedImage> LoadMultiboot(GuestMemory& memory, const ImageSpec& spec,
                                          uint64_t offset) {
  auto header = ReadAt<Header>(spec.kernel, offset);
  if (!header) return Bad("magic", "the file ends before the header does");
  if (header->flags & kUnknownRequired)
    return Bad("flags", absl::StrCat("requires 0x", absl::Hex(header->flags & kUnknownRequired),
                                     ", which is unknown here"));
  LoadedImage loaded{ImageKind::kMultiboot, {}, {}, {}};
  uint32_t entry = 0;
  std::vector<Range> taken;
  if (header->flags & kWantsAddresses) {
    auto range = LoadByAddresses(memory, spec.kernel, offset, &entry);
    if (!range.ok()) return range.status();
    taken.push_back(*range);
  } else {
    if (!IsElf(spec.kernel)) return Bad("flags", "neither an ELF file nor address fields");
    auto contents = LoadElfSegments(memory, spec.kernel, kReserved);
    if (!contents.ok()) return contents.status();
    if (contents->entry >> 32) return Bad("e_entry", "above 4 GiB");
    entry = static_cast<uint32_t>(contents->entry);
    for (const Segment& segment : contents->segments)
      taken.push_back({segment.gpa, segment.gpa + segment.size});
    loaded.symbols = std::move(contents->symbols);
    loaded.abi_version = contents->abi_version;
  }
  auto information = WriteInformation(memory, spec, std::move(taken));
  if (!information.ok()) return information.status();
  loaded.boot_registers = ProtectedModeEntry(entry);
  loaded.boot_registers.gpr[x86::kRax] = kBootMagic;
  loaded.boot_registers.gpr[x86::kRbx] = *information;
  return loaded;
}

}  // namespace trapline::machine

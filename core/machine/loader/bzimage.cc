// SPDX-License-Identifier: Apache-2.0
// Linux bzImage by the 64-bit boot protocol (Documentation/arch/x86/boot.rst; boot_params:
// zero-page.rst).
#include "core/machine/loader/formats.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/machine/loader/boot_layout.h"
#include "core/machine/loader/bytes.h"

namespace trapline::machine {
namespace {

// Offsets in the file, which are those in boot_params as well.
constexpr uint64_t kSetupSects = 0x1f1, kBootFlag = 0x1fe, kJump = 0x200, kMagic = 0x202,
                   kVersion = 0x206, kTypeOfLoader = 0x210, kLoadFlags = 0x211,
                   kRamdiskImage = 0x218, kRamdiskSize = 0x21c, kCmdLinePtr = 0x228,
                   kInitrdAddrMax = 0x22c, kXloadFlags = 0x236, kCmdlineSize = 0x238,
                   kPayloadOffset = 0x248, kPayloadLength = 0x24c, kPrefAddress = 0x258,
                   kInitSize = 0x260;
constexpr uint64_t kAcpiRsdp = 0x070, kE820Count = 0x1e8, kE820Table = 0x2d0;
constexpr uint32_t kHeaderMagic = 0x53726448;  // "HdrS"
constexpr uint16_t kBootFlagValue = 0xaa55, kMinVersion = 0x20c;
constexpr uint16_t kXlf64Bit = 1;
constexpr uint8_t kLoaderUnknown = 0xff, kLoadedHigh = 1;
constexpr uint64_t kSector = 512, kEntry64 = 0x200, kBootParamsSize = 4096, kHeaderStart = 0x1f1;
constexpr uint32_t kE820Ram = 1, kE820Reserved = 2;

struct __attribute__((packed)) E820Entry {
  uint64_t address;
  uint64_t size;
  uint32_t type;
};

absl::Status Bad(absl::string_view field, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("bzImage: ", field, ": ", why));
}

struct Header {
  uint64_t setup_size;  // setup sectors and the boot sector
  uint64_t header_end;
  uint64_t load_address;
  uint64_t init_size;
  uint64_t initrd_max;
};

absl::StatusOr<Header> ReadHeader(std::span<const std::byte> image) {
  auto version = ReadAt<uint16_t>(image, kVersion);
  auto init_size = ReadAt<uint32_t>(image, kInitSize);
  if (!version || !init_size) return Bad("header", "the file ends before it does");
  if (*ReadAt<uint16_t>(image, kBootFlag) != kBootFlagValue) return Bad("boot_flag", "not 0xaa55");
  if (*version < kMinVersion) {
    return Bad("version", absl::StrCat("0x", absl::Hex(*version),
                                       ", 0x20c or later is needed for the 64-bit entry"));
  }
  if (!(*ReadAt<uint16_t>(image, kXloadFlags) & kXlf64Bit))
    return Bad("xloadflags", "the kernel has no 64-bit entry");
  if (!(*ReadAt<uint8_t>(image, kLoadFlags) & kLoadedHigh))
    return Bad("loadflags", "not a bzImage but a zImage");

  Header header;
  uint8_t sectors = *ReadAt<uint8_t>(image, kSetupSects);
  header.setup_size = ((sectors ? sectors : 4) + 1) * kSector;
  if (header.setup_size >= image.size())
    return Bad("setup_sects", "the file ends before the kernel starts");
  header.header_end = kMagic + *ReadAt<uint8_t>(image, kJump + 1);
  if (header.header_end > header.setup_size || header.header_end > kE820Table)
    return Bad("jump", "the header reaches too far");
  if (header.header_end < kInitSize + sizeof *init_size)
    return Bad("jump", "the header ends before the fields of its version do");
  header.load_address = *ReadAt<uint64_t>(image, kPrefAddress);
  header.init_size = *init_size;
  header.initrd_max = *ReadAt<uint32_t>(image, kInitrdAddrMax);
  uint64_t payload = image.size() - header.setup_size;
  if (payload < kEntry64) return Bad("syssize", "the file ends before the 64-bit entry");
  // The header's size in paragraphs; a signature may follow the kernel.
  uint64_t system_size = *ReadAt<uint32_t>(image, 0x1f4) * uint64_t{16};
  if (system_size > payload + 15) {
    return Bad("syssize", absl::StrCat(system_size, " bytes, but the file holds ", payload));
  }
  if (header.init_size < payload) return Bad("init_size", "smaller than the kernel itself");
  if (header.load_address < kHighMemory) return Bad("pref_address", "below 1 MiB");
  if (header.load_address >= kLowRamEnd) return Bad("pref_address", "above the memory below 4 GiB");
  uint64_t compressed =
      uint64_t{*ReadAt<uint32_t>(image, kPayloadOffset)} + *ReadAt<uint32_t>(image, kPayloadLength);
  if (compressed > payload) {
    return Bad("payload_length", absl::StrCat("the compressed kernel ends ", compressed - payload,
                                              " bytes behind the file"));
  }
  return header;
}

absl::StatusOr<uint64_t> PlaceInitrd(GuestMemory& memory, const Header& header,
                                     std::span<const std::byte> initrd) {
  uint64_t top = std::min({header.initrd_max + 1, memory.size(), kLowRamEnd});
  uint64_t kernel_end = header.load_address + header.init_size;
  uint64_t address = initrd.size() <= top ? (top - initrd.size()) & ~uint64_t{0xfff} : 0;
  if (address < kernel_end) {
    return absl::InvalidArgumentError(
        absl::StrCat("initrd: ", initrd.size(), " bytes do not fit into memory behind the kernel"));
  }
  auto status = memory.Write(address, initrd);
  if (!status.ok()) return status;
  return address;
}

template <typename T>
void Put(std::span<std::byte> bytes, uint64_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

void PutMemoryMap(const GuestMemory& memory, std::span<std::byte> params) {
  std::array<E820Entry, 8> map;
  uint8_t count = 0;
  map[count++] = {0, kBiosData, kE820Ram};
  map[count++] = {kBiosData, kHighMemory - kBiosData, kE820Reserved};
  for (const RamRegion& region : memory.regions()) {
    uint64_t start = region.gpa == 0 ? kHighMemory : region.gpa;
    map[count++] = {start, region.gpa + region.size - start, kE820Ram};
  }
  Put(params, kE820Count, count);
  std::memcpy(params.data() + kE820Table, map.data(), count * sizeof(E820Entry));
}

}  // namespace

bool IsBzImage(std::span<const std::byte> image) {
  auto magic = ReadAt<uint32_t>(image, kMagic);
  return magic && *magic == kHeaderMagic;
}

absl::StatusOr<LoadedImage> LoadBzImage(GuestMemory& memory, const ImageSpec& spec, uint64_t rsdp) {
  auto header = ReadHeader(spec.kernel);
  if (!header.ok()) return header.status();
  if (!memory.Find(header->load_address, header->init_size)) {
    return Bad("init_size",
               absl::StrCat("the kernel needs ", (header->load_address + header->init_size) >> 20,
                            " MiB of memory, the VM has ", memory.size() >> 20));
  }
  uint32_t limit = *ReadAt<uint32_t>(spec.kernel, kCmdlineSize);
  if (spec.command_line.size() > limit) {
    return absl::InvalidArgumentError(
        absl::StrCat("command line: longer than the ", limit, " bytes this kernel takes"));
  }
  auto status = memory.Write(header->load_address, spec.kernel.subspan(header->setup_size));
  if (status.ok()) status = WriteBootTables(memory);
  if (status.ok()) status = WriteCommandLine(memory, spec.command_line);
  if (!status.ok()) return status;

  std::array<std::byte, kBootParamsSize> params{};
  std::copy(spec.kernel.begin() + kHeaderStart,
            spec.kernel.begin() + static_cast<ptrdiff_t>(header->header_end),
            params.begin() + kHeaderStart);
  Put(params, kTypeOfLoader, kLoaderUnknown);
  Put(params, kCmdLinePtr, static_cast<uint32_t>(kBootCommandLine));
  Put(params, kAcpiRsdp, rsdp);
  if (!spec.initrd.empty()) {
    auto address = PlaceInitrd(memory, *header, spec.initrd);
    if (!address.ok()) return address.status();
    Put(params, kRamdiskImage, static_cast<uint32_t>(*address));
    Put(params, kRamdiskSize, static_cast<uint32_t>(spec.initrd.size()));
  }
  PutMemoryMap(memory, params);
  status = memory.Write(kBootInfo, params);
  if (!status.ok()) return status;

  LoadedImage loaded{ImageKind::kBzImage, LongModeEntry(header->load_address + kEntry64), {}, {}};
  loaded.boot_registers.gpr[x86::kRsi] = kBootInfo;
  return loaded;
}

}  // namespace trapline::machine

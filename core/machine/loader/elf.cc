// SPDX-License-Identifier: Apache-2.0
// ELF32 and ELF64 executables for x86 (System V ABI, chapters 4 and 5; AMD64 supplement).
#include <elf.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/machine/loader/boot_layout.h"
#include "core/machine/loader/bytes.h"
#include "core/machine/loader/formats.h"

namespace trapline::machine {
namespace {

constexpr size_t kMaxSegments = 64, kMaxSections = 4096;
constexpr uint64_t kMaxSymbols = 1 << 20;

absl::Status Bad(absl::string_view field, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("ELF: ", field, ": ", why));
}

struct Elf32 {
  using Header = Elf32_Ehdr;
  using Segment = Elf32_Phdr;
  using Section = Elf32_Shdr;
  using Entry = Elf32_Sym;
};
struct Elf64 {
  using Header = Elf64_Ehdr;
  using Segment = Elf64_Phdr;
  using Section = Elf64_Shdr;
  using Entry = Elf64_Sym;
};

struct Range {
  uint64_t start, end;
};

absl::Status LoadSegment(GuestMemory& memory, std::span<const std::byte> image, uint64_t offset, uint64_t address,
                         uint64_t file_size, uint64_t memory_size, std::vector<Range>* taken) {
  if (file_size > memory_size) return Bad("p_filesz", "larger than p_memsz");
  if (!base::RangeFits(offset, file_size, image.size())) {
    return Bad("p_offset", absl::StrCat("the segment at 0x", absl::Hex(address), " reaches behind the end of the file"));
  }
  if (memory_size == 0) return absl::OkStatus();
  if (!memory.Find(address, memory_size)) {
    return Bad("p_paddr", absl::StrCat("the segment at 0x", absl::Hex(address), " of ", memory_size, " bytes is not in the VM's memory"));
  }
  if (address < kHighMemory) {
    return Bad("p_paddr", absl::StrCat("the segment at 0x", absl::Hex(address), " overlaps the boot structures below 1 MiB"));
  }
  Range range{address, address + memory_size};
  for (const Range& other : *taken) {
    if (range.start < other.end && other.start < range.end) {
      return Bad("p_paddr", absl::StrCat("segments overlap at 0x", absl::Hex(std::max(range.start, other.start))));
    }
  }
  taken->push_back(range);
  return memory.Write(address, image.subspan(offset, file_size));
}

// Symbols are for people: what is wrong with the table costs only the table.
template <class Elf>
std::vector<Symbol> ReadSymbols(std::span<const std::byte> image, const typename Elf::Header& header) {
  std::vector<Symbol> symbols;
  if (header.e_shentsize != sizeof(typename Elf::Section) || header.e_shnum > kMaxSections) return symbols;
  auto section_at = [&](uint64_t index) {
    return ReadAt<typename Elf::Section>(image, header.e_shoff + index * sizeof(typename Elf::Section));
  };
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    auto table = section_at(i);
    if (!table || table->sh_type != SHT_SYMTAB || table->sh_link >= header.e_shnum) continue;
    auto strings = section_at(table->sh_link);
    if (!strings || !base::RangeFits(strings->sh_offset, strings->sh_size, image.size())) continue;
    auto text = image.subspan(strings->sh_offset, strings->sh_size);
    uint64_t count = std::min<uint64_t>(table->sh_size / sizeof(typename Elf::Entry), kMaxSymbols);
    for (uint64_t s = 0; s < count; ++s) {
      auto entry = ReadAt<typename Elf::Entry>(image, table->sh_offset + s * sizeof(typename Elf::Entry));
      if (!entry) break;
      unsigned type = entry->st_info & 0xf;
      if (entry->st_shndx == SHN_UNDEF || type > STT_FUNC || entry->st_name >= text.size()) continue;
      const char* name = reinterpret_cast<const char*>(text.data()) + entry->st_name;
      size_t length = strnlen(name, text.size() - entry->st_name);
      if (length > 0) symbols.push_back({entry->st_value, entry->st_size, std::string(name, length)});
    }
  }
  std::sort(symbols.begin(), symbols.end(), [](const Symbol& a, const Symbol& b) { return a.address < b.address; });
  return symbols;
}

template <class Elf>
absl::StatusOr<ElfContents> Load(GuestMemory& memory, std::span<const std::byte> image, uint16_t machine) {
  auto header = ReadAt<typename Elf::Header>(image, 0);
  if (!header) return Bad("e_ident", "the file ends before the header does");
  if (header->e_machine != machine) return Bad("e_machine", "not an x86 image");
  if (header->e_type != ET_EXEC && header->e_type != ET_DYN) return Bad("e_type", "not an executable");
  if (header->e_phentsize != sizeof(typename Elf::Segment)) return Bad("e_phentsize", "not the size of a program header");
  if (header->e_phnum == 0 || header->e_phnum > kMaxSegments) return Bad("e_phnum", absl::StrCat(header->e_phnum, " program headers, 1 to ", kMaxSegments, " can be"));

  ElfContents contents;
  contents.is_64 = sizeof(typename Elf::Header) == sizeof(Elf64_Ehdr);
  contents.entry = header->e_entry;
  std::vector<Range> taken;
  for (uint64_t i = 0; i < header->e_phnum; ++i) {
    auto offset = base::CheckedAdd<uint64_t>(header->e_phoff, i * sizeof(typename Elf::Segment));
    auto segment = offset ? ReadAt<typename Elf::Segment>(image, *offset) : std::nullopt;
    if (!segment) return Bad("e_phoff", "the program headers reach behind the end of the file");
    if (segment->p_type != PT_LOAD) continue;
    auto status = LoadSegment(memory, image, segment->p_offset, segment->p_paddr, segment->p_filesz, segment->p_memsz, &taken);
    if (!status.ok()) return status;
  }
  if (taken.empty()) return Bad("e_phnum", "nothing to load");
  for (const Range& range : taken) contents.end = std::max(contents.end, range.end);
  bool entry_inside = std::any_of(taken.begin(), taken.end(), [&](const Range& range) {
    return contents.entry >= range.start && contents.entry < range.end;
  });
  if (!entry_inside) return Bad("e_entry", absl::StrCat("0x", absl::Hex(contents.entry), " is in no loaded segment"));
  contents.symbols = ReadSymbols<Elf>(image, *header);
  return contents;
}

}  // namespace

bool IsElf(std::span<const std::byte> image) {
  auto ident = ReadAt<uint32_t>(image, 0);
  return ident && *ident == 0x464c457f;
}

absl::StatusOr<ElfContents> LoadElfSegments(GuestMemory& memory, std::span<const std::byte> image) {
  auto elf_class = ReadAt<uint8_t>(image, EI_CLASS), encoding = ReadAt<uint8_t>(image, EI_DATA);
  if (!elf_class || !encoding) return Bad("e_ident", "the file ends before the header does");
  if (*encoding != ELFDATA2LSB) return Bad("e_ident", "not little-endian");
  if (*elf_class == ELFCLASS64) return Load<Elf64>(memory, image, EM_X86_64);
  if (*elf_class == ELFCLASS32) return Load<Elf32>(memory, image, EM_386);
  return Bad("e_ident", "neither 32 nor 64 bits");
}

absl::StatusOr<LoadedImage> LoadElf64(GuestMemory& memory, const ImageSpec& spec) {
  auto contents = LoadElfSegments(memory, spec.kernel);
  if (!contents.ok()) return contents.status();
  if (!contents->is_64) return Bad("e_ident", "a 32-bit image without a Multiboot header cannot be started");
  if (!spec.initrd.empty()) return absl::InvalidArgumentError("initrd: a plain ELF64 image takes none");
  LoadedImage loaded{ImageKind::kElf64, LongModeEntry(contents->entry), std::move(contents->symbols)};
  // RDI: the command line; RSI: the size of RAM below the hole; RDX: how many vCPUs there are.
  loaded.boot_registers.gpr[x86::kRdi] = kBootCommandLine;
  loaded.boot_registers.gpr[x86::kRsi] = memory.regions()[0].size;
  loaded.boot_registers.gpr[x86::kRdx] = spec.vcpus;
  return loaded;
}

}  // namespace trapline::machine

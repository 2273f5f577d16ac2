// SPDX-License-Identifier: Apache-2.0
// ELF32 and ELF64 executables for x86 (System V ABI, chapters 4 and 5; AMD64 supplement).
#include <elf.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/guest/abi.h"
#include "core/machine/loader/boot_layout.h"
#include "core/machine/loader/bytes.h"
#include "core/machine/loader/elf_symbols.h"
#include "core/machine/loader/formats.h"

namespace trapline::machine {
namespace {

constexpr size_t kMaxSegments = 64;
constexpr std::string_view kNoteOwner("Trapline\0", 9);

absl::Status Bad(absl::string_view field, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("ELF: ", field, ": ", why));
}

struct Elf32 {
  using Header = Elf32_Ehdr;
  using Segment = Elf32_Phdr;
};
struct Elf64 {
  using Header = Elf64_Ehdr;
  using Segment = Elf64_Phdr;
};

absl::Status LoadSegment(GuestMemory& memory, std::span<const std::byte> image, uint64_t offset,
                         uint64_t address, uint64_t file_size, uint64_t memory_size,
                         const Range& reserved, const std::vector<Segment>& taken) {
  if (file_size > memory_size) return Bad("p_filesz", "larger than p_memsz");
  if (!base::RangeFits(offset, file_size, image.size())) {
    return Bad("p_offset", absl::StrCat("the segment at 0x", absl::Hex(address),
                                        " reaches behind the end of the file"));
  }
  if (memory_size == 0) return absl::OkStatus();
  if (!memory.Find(address, memory_size)) {
    return Bad("p_paddr", absl::StrCat("the segment at 0x", absl::Hex(address), " of ", memory_size,
                                       " bytes is not in the VM's memory"));
  }
  Range range{address, address + memory_size};
  if (range.Overlaps(reserved)) {
    return Bad(
        "p_paddr",
        absl::StrCat("the segment at 0x", absl::Hex(address), " overlaps the boot structures, 0x",
                     absl::Hex(reserved.start), " to 0x", absl::Hex(reserved.end)));
  }
  for (const Segment& other : taken) {
    if (range.Overlaps({other.gpa, other.gpa + other.size})) {
      return Bad("p_paddr", absl::StrCat("segments overlap at 0x",
                                         absl::Hex(std::max(range.start, other.gpa))));
    }
  }
  return memory.Write(address, image.subspan(offset, file_size));
}

// Looks through the notes of one segment for ours: name size, descriptor size, type, then both,
// each padded to 4 bytes.
absl::Status ReadNotes(std::span<const std::byte> image, uint64_t offset, uint64_t size,
                       std::optional<uint32_t>* version) {
  if (!base::RangeFits(offset, size, image.size()))
    return Bad("p_offset", "the notes reach behind the end of the file");
  auto notes = image.subspan(offset, size);
  auto padded = [](uint32_t value) { return (uint64_t{value} + 3) & ~uint64_t{3}; };
  for (uint64_t at = 0; auto header = ReadAt<Elf64_Nhdr>(notes, at);) {
    uint64_t name = at + sizeof *header, descriptor = name + padded(header->n_namesz);
    uint64_t end = descriptor + header->n_descsz;
    if (end > notes.size()) return Bad("n_descsz", "a note reaches behind the end of its segment");
    if (header->n_namesz == kNoteOwner.size() &&
        std::memcmp(notes.data() + name, kNoteOwner.data(), kNoteOwner.size()) == 0) {
      if (header->n_type != TRAPLINE_ABI_VERSION) {
        return Bad("n_type", absl::StrCat("version ", header->n_type, " of the paravirtual ABI, ",
                                          TRAPLINE_ABI_VERSION, " is what there is"));
      }
      *version = header->n_type;
    }
    at = descriptor + padded(header->n_descsz);
  }
  return absl::OkStatus();
}

template <class Elf>
absl::StatusOr<ElfContents> Load(GuestMemory& memory, std::span<const std::byte> image,
                                 uint16_t machine, const Range& reserved) {
  auto header = ReadAt<typename Elf::Header>(image, 0);
  if (!header) return Bad("e_ident", "the file ends before the header does");
  if (header->e_machine != machine) return Bad("e_machine", "not an x86 image");
  if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
    return Bad("e_type", "not an executable");
  if (header->e_phentsize != sizeof(typename Elf::Segment))
    return Bad("e_phentsize", "not the size of a program header");
  if (header->e_phnum == 0 || header->e_phnum > kMaxSegments)
    return Bad("e_phnum",
               absl::StrCat(header->e_phnum, " program headers, 1 to ", kMaxSegments, " can be"));

  ElfContents contents;
  contents.is_64 = sizeof(typename Elf::Header) == sizeof(Elf64_Ehdr);
  contents.entry = header->e_entry;
  for (uint64_t i = 0; i < header->e_phnum; ++i) {
    auto offset = base::CheckedAdd<uint64_t>(header->e_phoff, i * sizeof(typename Elf::Segment));
    auto segment = offset ? ReadAt<typename Elf::Segment>(image, *offset) : std::nullopt;
    if (!segment) return Bad("e_phoff", "the program headers reach behind the end of the file");
    absl::Status status;
    if (segment->p_type == PT_LOAD) {
      status = LoadSegment(memory, image, segment->p_offset, segment->p_paddr, segment->p_filesz,
                           segment->p_memsz, reserved, contents.segments);
      if (status.ok() && segment->p_memsz != 0) {
        contents.segments.push_back({segment->p_paddr, segment->p_memsz,
                                     (segment->p_flags & PF_W) != 0,
                                     (segment->p_flags & PF_X) != 0});
      }
    } else if (segment->p_type == PT_NOTE) {
      status = ReadNotes(image, segment->p_offset, segment->p_filesz, &contents.abi_version);
    }
    if (!status.ok()) return status;
  }
  if (contents.segments.empty()) return Bad("e_phnum", "nothing to load");
  std::sort(contents.segments.begin(), contents.segments.end(),
            [](const Segment& a, const Segment& b) { return a.gpa < b.gpa; });
  bool entry_inside =
      std::any_of(contents.segments.begin(), contents.segments.end(), [&](const Segment& segment) {
        return contents.entry >= segment.gpa && contents.entry - segment.gpa < segment.size;
      });
  if (!entry_inside)
    return Bad("e_entry",
               absl::StrCat("0x", absl::Hex(contents.entry), " is in no loaded segment"));
  // Symbols are for people: what is wrong with the table costs only the table.
  contents.symbols = CodeSymbols(ReadElfSymbols(image));
  return contents;
}

}  // namespace

bool IsElf(std::span<const std::byte> image) {
  auto ident = ReadAt<uint32_t>(image, 0);
  return ident && *ident == 0x464c457f;
}

absl::StatusOr<ElfContents> LoadElfSegments(GuestMemory& memory, std::span<const std::byte> image,
                                            const Range& reserved) {
  auto elf_class = ReadAt<uint8_t>(image, EI_CLASS), encoding = ReadAt<uint8_t>(image, EI_DATA);
  if (!elf_class || !encoding) return Bad("e_ident", "the file ends before the header does");
  if (*encoding != ELFDATA2LSB) return Bad("e_ident", "not little-endian");
  if (*elf_class == ELFCLASS64) return Load<Elf64>(memory, image, EM_X86_64, reserved);
  if (*elf_class == ELFCLASS32) return Load<Elf32>(memory, image, EM_386, reserved);
  return Bad("e_ident", "neither 32 nor 64 bits");
}

absl::StatusOr<LoadedImage> LoadElf64(GuestMemory& memory, const ImageSpec& spec) {
  auto contents = LoadElfSegments(memory, spec.kernel, {0, kHighMemory});
  if (!contents.ok()) return contents.status();
  if (!contents->is_64)
    return Bad("e_ident", "a 32-bit image without a Multiboot header cannot be started");
  if (!spec.initrd.empty())
    return absl::InvalidArgumentError("initrd: a plain ELF64 image takes none");
  if (contents->entry >= kIdentityMapped)
    return Bad("e_entry", "above the 4 GiB that are mapped at entry");
  auto status = WriteBootTables(memory);
  if (status.ok() && contents->abi_version) status = UnmapPageZero(memory);
  if (status.ok()) status = WriteCommandLine(memory, spec.command_line);
  if (!status.ok()) return status;
  LoadedImage loaded{ImageKind::kElf64, LongModeEntry(contents->entry),
                     std::move(contents->symbols), contents->abi_version,
                     std::move(contents->segments)};
  // RDI: the command line; RSI: the size of RAM below the hole; RDX: how many vCPUs there are.
  loaded.boot_registers.gpr[x86::kRdi] = kBootCommandLine;
  loaded.boot_registers.gpr[x86::kRsi] = memory.regions()[0].size;
  loaded.boot_registers.gpr[x86::kRdx] = spec.vcpus;
  return loaded;
}

}  // namespace trapline::machine

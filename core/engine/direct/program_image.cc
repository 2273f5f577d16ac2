// SPDX-License-Identifier: Apache-2.0
// Symbols and code of the program's image, which our own build made and nobody else writes.
#include "core/engine/direct/program_image.h"

#include <elf.h>

#include <string>
#include <string_view>
#include <vector>

extern "C" {
extern const char trapline_guest_program[];
extern const char trapline_guest_program_end[];
}

namespace trapline::engine::direct {
namespace {

constexpr std::string_view kEntry = "linked_entry", kEntryEnd = "linked_tail_end";

template <typename T>
std::span<const T> Rows(uint64_t offset, uint64_t count) {
  return {reinterpret_cast<const T*>(trapline_guest_program + offset), count};
}

const Elf64_Ehdr& Header() { return Rows<Elf64_Ehdr>(0, 1).front(); }

struct Label {
  uint64_t address;
  std::string name;
};

// All names of its text, those of one file before those of all.
std::vector<Label> Labels() {
  std::vector<Label> labels;
  auto sections = Rows<Elf64_Shdr>(Header().e_shoff, Header().e_shnum);
  for (const Elf64_Shdr& table : sections) {
    if (table.sh_type != SHT_SYMTAB) continue;
    const char* names = trapline_guest_program + sections[table.sh_link].sh_offset;
    for (const Elf64_Sym& symbol :
         Rows<Elf64_Sym>(table.sh_offset, table.sh_size / sizeof(Elf64_Sym))) {
      bool has_section = symbol.st_shndx != SHN_UNDEF && symbol.st_shndx < sections.size();
      bool code = has_section && (sections[symbol.st_shndx].sh_flags & SHF_EXECINSTR);
      if (code && ELF64_ST_TYPE(symbol.st_info) <= STT_FUNC && names[symbol.st_name] != '\0')
        labels.push_back({symbol.st_value, names + symbol.st_name});
    }
  }
  return labels;
}

// What is loaded to [start, end).
std::vector<std::byte> LoadedBytes(uint64_t start, uint64_t end) {
  for (const Elf64_Phdr& segment : Rows<Elf64_Phdr>(Header().e_phoff, Header().e_phnum)) {
    if (segment.p_type != PT_LOAD || start < segment.p_vaddr ||
        end > segment.p_vaddr + segment.p_filesz || start > end)
      continue;
    auto bytes = ProgramImage().subspan(segment.p_offset + (start - segment.p_vaddr), end - start);
    return {bytes.begin(), bytes.end()};
  }
  return {};
}

}  // namespace

std::span<const std::byte> ProgramImage() {
  return std::as_bytes(std::span(trapline_guest_program, trapline_guest_program_end));
}

std::optional<Trampoline> LinkedEntry() {
  Trampoline entry{"entry", 0, {}, {}};
  uint64_t end = 0;
  for (const Label& label : Labels()) {
    if (label.name == kEntry) entry.address = label.address;
    if (label.name == kEntryEnd) end = label.address;
    entry.labels.emplace(label.address, label.name);
  }
  if (entry.address == 0 || end == 0) return std::nullopt;
  entry.code = LoadedBytes(entry.address, end);
  return entry;
}

}  // namespace trapline::engine::direct

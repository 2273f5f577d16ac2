// SPDX-License-Identifier: Apache-2.0
// Section headers, one symbol table, notes (System V ABI, chapter 4).
#include "core/machine/loader/elf_symbols.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include "core/machine/loader/bytes.h"

namespace trapline::machine {
namespace {

using Bytes = std::span<const std::byte>;

constexpr size_t kMaxSections = 4096;
constexpr size_t kMaxSymbols = 1 << 20, kMaxSymbolName = 1 << 10;
constexpr std::string_view kNoteOwner("GNU\0", 4);

struct Elf32 {
  using Header = Elf32_Ehdr;
  using Section = Elf32_Shdr;
  using Entry = Elf32_Sym;
};
struct Elf64 {
  using Header = Elf64_Ehdr;
  using Section = Elf64_Shdr;
  using Entry = Elf64_Sym;
};

template <class Elf>
std::vector<typename Elf::Section> Sections(Bytes file) {
  using Section = typename Elf::Section;
  std::vector<Section> sections;
  auto header = ReadAt<typename Elf::Header>(file, 0);
  if (!header || header->e_shentsize != sizeof(Section) || header->e_shnum > kMaxSections)
    return sections;
  for (uint64_t i = 0; i < header->e_shnum; ++i) {
    auto at = base::CheckedAdd<uint64_t>(header->e_shoff, i * sizeof(Section));
    auto section = at ? ReadAt<Section>(file, *at) : std::nullopt;
    if (!section) return {};
    sections.push_back(*section);
  }
  return sections;
}

template <class Section>
Bytes Contents(Bytes file, const Section& section) {
  if (!base::RangeFits(section.sh_offset, section.sh_size, file.size())) return {};
  return file.subspan(section.sh_offset, section.sh_size);
}

template <class Elf>
std::vector<ElfSymbol> ReadSymbols(Bytes file) {
  std::vector<ElfSymbol> symbols;
  auto sections = Sections<Elf>(file);
  auto table = std::find_if(sections.begin(), sections.end(),
                            [](const auto& section) { return section.sh_type == SHT_SYMTAB; });
  if (table == sections.end() || table->sh_link >= sections.size()) return symbols;
  Bytes text = Contents(file, sections[table->sh_link]), entries = Contents(file, *table);
  for (uint64_t at = 0; symbols.size() < kMaxSymbols; at += sizeof(typename Elf::Entry)) {
    auto entry = ReadAt<typename Elf::Entry>(entries, at);
    if (!entry) break;
    unsigned type = entry->st_info & 0xf;
    // Absolute values, and what else has no section, are no places.
    if (entry->st_shndx == SHN_UNDEF || entry->st_shndx >= sections.size() || type > STT_FUNC ||
        entry->st_name >= text.size())
      continue;
    const auto& section = sections[entry->st_shndx];
    if (!(section.sh_flags & SHF_ALLOC)) continue;
    const char* name = reinterpret_cast<const char*>(text.data()) + entry->st_name;
    size_t length = strnlen(name, std::min<size_t>(text.size() - entry->st_name, kMaxSymbolName));
    if (length == 0) continue;
    symbols.push_back(
        {entry->st_value, entry->st_size, uint64_t{section.sh_addr} + uint64_t{section.sh_size},
         std::string(name, length), (section.sh_flags & SHF_EXECINSTR) != 0, type == STT_FUNC});
  }
  return symbols;
}

}  // namespace

std::vector<ElfSymbol> ReadElfSymbols(Bytes file) {
  auto elf_class = ReadAt<uint8_t>(file, EI_CLASS);
  if (!elf_class) return {};
  return *elf_class == ELFCLASS64 ? ReadSymbols<Elf64>(file) : ReadSymbols<Elf32>(file);
}

std::vector<Symbol> CodeSymbols(std::vector<ElfSymbol> symbols) {
  std::erase_if(symbols, [](const ElfSymbol& symbol) {
    return !symbol.in_code || symbol.address >= symbol.section_end;
  });
  std::stable_sort(symbols.begin(), symbols.end(), [](const ElfSymbol& a, const ElfSymbol& b) {
    if (a.address != b.address) return a.address < b.address;
    if (a.is_function != b.is_function) return a.is_function;
    return (a.size != 0) > (b.size != 0);
  });
  std::vector<Symbol> code;
  uint64_t sized_end = 0;  // of the symbols before that say where they end
  for (size_t i = 0; i < symbols.size(); ++i) {
    ElfSymbol& symbol = symbols[i];
    if (!code.empty() && code.back().address == symbol.address) continue;
    uint64_t end = symbol.section_end;
    if (symbol.size != 0) {
      end = std::min(end, symbol.address + std::min(symbol.size, end - symbol.address));
      sized_end = std::max(sized_end, end);
    } else {
      auto next = std::find_if(symbols.begin() + static_cast<ptrdiff_t>(i), symbols.end(),
                               [&](const ElfSymbol& s) { return s.address > symbol.address; });
      if (next != symbols.end()) end = std::min(end, next->address);
      if (sized_end > symbol.address) end = std::min(end, sized_end);
    }
    code.push_back(
        {symbol.address, end - symbol.address, std::move(symbol.name), symbol.is_function});
  }
  return code;
}

std::optional<ElfBuildId> FindElfBuildId(Bytes file) {
  auto padded = [](uint32_t value) { return (uint64_t{value} + 3) & ~uint64_t{3}; };
  for (const Elf64_Shdr& section : Sections<Elf64>(file)) {
    if (section.sh_type != SHT_NOTE || !(section.sh_flags & SHF_ALLOC)) continue;
    Bytes notes = Contents(file, section);
    for (uint64_t at = 0; auto header = ReadAt<Elf64_Nhdr>(notes, at);) {
      uint64_t name = at + sizeof *header, descriptor = name + padded(header->n_namesz);
      uint64_t end = descriptor + header->n_descsz;
      if (end > notes.size()) break;
      if (header->n_type == NT_GNU_BUILD_ID && header->n_namesz == kNoteOwner.size() &&
          header->n_descsz != 0 &&
          std::memcmp(notes.data() + name, kNoteOwner.data(), kNoteOwner.size()) == 0) {
        Bytes id = notes.subspan(descriptor, header->n_descsz);
        return ElfBuildId{section.sh_addr + descriptor, {id.begin(), id.end()}};
      }
      at = descriptor + padded(header->n_descsz);
    }
  }
  return std::nullopt;
}

}  // namespace trapline::machine

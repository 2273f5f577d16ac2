// SPDX-License-Identifier: Apache-2.0
// Headers, a symbol table, its strings, a note.
#include "tests/vm/vmlinux.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace trapline::vm {
namespace {

enum Section { kNone, kCode, kData, kSymbols, kStrings, kNotes, kSections };

class Writer {
 public:
  explicit Writer(size_t size) : bytes_(size) {}
  template <typename T>
  uint64_t Append(std::span<const T> values) {
    uint64_t at = bytes_.size();
    auto raw = std::as_bytes(values);
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
    return at;
  }
  template <typename T>
  void Put(size_t at, const T& value) {
    std::memcpy(bytes_.data() + at, &value, sizeof value);
  }
  std::vector<std::byte> Take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace

std::vector<std::byte> MakeVmlinux(std::span<const KernelSymbol> symbols, uint64_t note_descriptor,
                                   std::span<const std::byte> build_id) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_shoff = sizeof header;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = kSections;
  Elf64_Shdr sections[kSections] = {};
  Writer file(sizeof header + sizeof sections);

  uint64_t lowest = ~uint64_t{0}, highest = 0;
  std::string strings(1, '\0');
  std::vector<Elf64_Sym> entries(1);
  for (const KernelSymbol& symbol : symbols) {
    lowest = std::min(lowest, symbol.address);
    highest = std::max(highest, symbol.address);
    auto section = static_cast<Elf64_Section>(symbol.IsCode() ? kCode : kData);
    entries.push_back({static_cast<Elf64_Word>(strings.size()),
                       ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE), 0, section, symbol.address, 0});
    strings += symbol.name + '\0';
  }
  for (Section section : {kCode, kData}) {
    sections[section].sh_type = SHT_NOBITS;
    sections[section].sh_flags = SHF_ALLOC | (section == kCode ? SHF_EXECINSTR : 0);
    sections[section].sh_addr = lowest;
    sections[section].sh_size = highest - lowest + 1;
  }
  sections[kSymbols].sh_type = symbols.empty() ? SHT_NULL : SHT_SYMTAB;
  sections[kSymbols].sh_link = kStrings;
  sections[kSymbols].sh_size = entries.size() * sizeof(Elf64_Sym);
  sections[kSymbols].sh_offset = file.Append(std::span<const Elf64_Sym>(entries));
  sections[kStrings].sh_type = SHT_STRTAB;
  sections[kStrings].sh_size = strings.size();
  sections[kStrings].sh_offset = file.Append(std::span<const char>(strings));
  if (!build_id.empty()) {
    const Elf64_Nhdr note{4, static_cast<Elf64_Word>(build_id.size()), NT_GNU_BUILD_ID};
    sections[kNotes].sh_type = SHT_NOTE;
    sections[kNotes].sh_flags = SHF_ALLOC;
    sections[kNotes].sh_addr = note_descriptor - sizeof note - 4;
    sections[kNotes].sh_size = sizeof note + 4 + build_id.size();
    sections[kNotes].sh_offset = file.Append(std::span(&note, 1));
    file.Append(std::span<const char>("GNU", 4));
    file.Append(build_id);
  }
  file.Put(0, header);
  file.Put(sizeof header, sections);
  return file.Take();
}

}  // namespace trapline::vm

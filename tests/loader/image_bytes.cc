// SPDX-License-Identifier: Apache-2.0
// Assembles the images.
#include "tests/loader/image_bytes.h"

#include <cstdlib>

namespace trapline::machine {
namespace {

constexpr std::byte kFill{0x5a};

}  // namespace

std::unique_ptr<GuestMemory> TestMemory(uint64_t size) {
  auto memory = GuestMemory::Create(size);
  if (!memory.ok()) std::abort();
  return *std::move(memory);
}

std::string PeekText(const GuestMemory& memory, uint64_t gpa) {
  std::string text;
  while (char c = Peek<char>(memory, gpa++)) text += c;
  return text;
}

ImageBytes MakeBzImage() {
  constexpr size_t kSetup = 5 * 512, kCode = 4096;
  ImageBytes image(kSetup + kCode);
  std::fill(image.begin() + kSetup, image.end(), kFill);
  Poke<uint8_t>(image, 0x1f1, 4);            // setup_sects
  Poke<uint32_t>(image, 0x1f4, kCode / 16);  // syssize
  Poke<uint16_t>(image, 0x1fe, 0xaa55);      // boot_flag
  Poke<uint16_t>(image, 0x200, 0x6aeb);      // jump, over a header that ends at 0x26c
  Poke<uint32_t>(image, 0x202, 0x53726448);  // "HdrS"
  Poke<uint16_t>(image, 0x206, 0x20f);       // version
  Poke<uint8_t>(image, 0x211, 1);            // loadflags: loaded high
  Poke<uint32_t>(image, 0x22c, 0x7fffffff);  // initrd_addr_max
  Poke<uint32_t>(image, 0x230, 0x200000);    // kernel_alignment
  Poke<uint8_t>(image, 0x234, 1);            // relocatable_kernel
  Poke<uint16_t>(image, 0x236, 1);           // xloadflags: 64-bit entry
  Poke<uint32_t>(image, 0x238, 2047);        // cmdline_size
  Poke<uint32_t>(image, 0x248, 0x300);       // payload_offset
  Poke<uint32_t>(image, 0x24c, 0x400);       // payload_length
  Poke<uint64_t>(image, 0x258, 0x1000000);   // pref_address
  Poke<uint32_t>(image, 0x260, 0x800000);    // init_size
  return image;
}

Elf64_Ehdr& HeaderOf(ImageBytes& elf) { return *reinterpret_cast<Elf64_Ehdr*>(elf.data()); }

Elf64_Phdr& SegmentOf(ImageBytes& elf, unsigned index) {
  return reinterpret_cast<Elf64_Phdr*>(elf.data() + HeaderOf(elf).e_phoff)[index];
}

Elf64_Shdr& SectionOf(ImageBytes& elf, unsigned index) {
  return reinterpret_cast<Elf64_Shdr*>(elf.data() + HeaderOf(elf).e_shoff)[index];
}

ImageBytes MakeElf64() {
  using L = Elf64Layout;
  constexpr uint64_t kCodeOffset = 0x200, kDataOffset = 0x300, kSymbols = 0x380, kStrings = 0x3c8,
                     kSections = 0x400;
  constexpr char kNames[] = "\0start\0finish";
  ImageBytes elf(kSections + 4 * sizeof(Elf64_Shdr));
  Elf64_Ehdr& header = HeaderOf(elf);
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_entry = L::kCode + 0x10;
  header.e_phoff = sizeof header;
  header.e_shoff = kSections;
  header.e_ehsize = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 4;
  std::fill(elf.begin() + kCodeOffset, elf.begin() + kSymbols, kFill);
  SegmentOf(elf, 0) = {PT_LOAD,  PF_R | PF_X,  kCodeOffset,  L::kCode,
                       L::kCode, L::kCodeSize, L::kCodeSize, 4096};
  SegmentOf(elf, 1) = {PT_LOAD,  PF_R | PF_W,      kDataOffset,  L::kData,
                       L::kData, L::kDataFileSize, L::kDataSize, 4096};
  const Elf64_Sym symbols[] = {
      {},
      {7, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 3, L::kCode + 0x40, 0x20},
      {1, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 3, L::kCode + 0x10, 0x30}};
  std::memcpy(elf.data() + kSymbols, symbols, sizeof symbols);
  std::memcpy(elf.data() + kStrings, kNames, sizeof kNames);
  SectionOf(elf, 1) = {0, SHT_SYMTAB, 0, 0, kSymbols, sizeof symbols, 2, 0, 8, sizeof(Elf64_Sym)};
  SectionOf(elf, 2) = {0, SHT_STRTAB, 0, 0, kStrings, sizeof kNames, 0, 0, 1, 0};
  SectionOf(elf, 3) = {
      0, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, L::kCode, kCodeOffset, L::kCodeSize, 0, 0, 16, 0};
  return elf;
}

void AddNote(ImageBytes& elf, std::string_view owner, uint32_t type) {
  uint64_t offset = elf.size();
  Elf64_Nhdr note{static_cast<Elf64_Word>(owner.size() + 1), 4, type};
  uint64_t padded = (note.n_namesz + 3) & ~3u;
  elf.resize(offset + sizeof note + padded + note.n_descsz);
  std::memcpy(elf.data() + offset, &note, sizeof note);
  std::memcpy(elf.data() + offset + sizeof note, owner.data(), owner.size());
  SegmentOf(elf, HeaderOf(elf).e_phnum++) = {
      PT_NOTE, PF_R, offset, 0, 0, elf.size() - offset, elf.size() - offset, 4};
}

void PutMultibootHeader(ImageBytes& image, uint64_t offset, uint32_t flags) {
  constexpr uint32_t kMagic = 0x1badb002;
  Poke(image, offset, kMagic);
  Poke(image, offset + 4, flags);
  Poke(image, offset + 8, 0 - kMagic - flags);
}

ImageBytes MakeMultiboot(uint32_t flags) {
  constexpr uint32_t kLoad = 0x100000;
  ImageBytes image(4096, kFill);
  PutMultibootHeader(image, 0, flags);
  Poke(image, 12, kLoad);          // header_addr
  Poke(image, 16, kLoad);          // load_addr
  Poke(image, 20, kLoad + 4096);   // load_end_addr
  Poke(image, 24, kLoad + 8192);   // bss_end_addr
  Poke(image, 28, kLoad + 0x100);  // entry_addr
  return image;
}

ImageBytes MakeElf32(uint32_t address) {
  constexpr uint32_t kOffset = 0x100, kSize = 0x100;
  ImageBytes elf(kOffset + kSize, kFill);
  Elf32_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS32;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_EXEC;
  header.e_machine = EM_386;
  header.e_entry = address + 0x20;
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(Elf32_Phdr);
  header.e_phnum = 1;
  Elf32_Phdr segment{PT_LOAD, kOffset, address, address, kSize, kSize, PF_R | PF_X, 4096};
  Poke(elf, 0, header);
  Poke(elf, sizeof header, segment);
  PutMultibootHeader(elf, kOffset);
  return elf;
}

absl::StatusOr<LoadedImage> LoadAlone(const ImageBytes& image) {
  auto memory = TestMemory();
  return LoadImage(*memory, {image, {}, "", 1});
}

std::string MessageOf(const absl::StatusOr<LoadedImage>& loaded) {
  return std::string(loaded.status().message());
}

}  // namespace trapline::machine

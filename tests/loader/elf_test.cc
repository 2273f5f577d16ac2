// SPDX-License-Identifier: Apache-2.0
// ELF64 images: loading, symbols, notes, and refusing what is wrong.
#include <functional>

#include "core/guest/abi.h"
#include "core/x86/flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/loader/image_bytes.h"

namespace trapline::machine {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using L = Elf64Layout;

TEST(Elf64, LoadsItsSegmentsAndEntersInLongMode) {
  auto memory = TestMemory();
  ImageBytes image = MakeElf64();
  auto loaded = LoadImage(*memory, {image, {}, "technique=direct", 3});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->kind, ImageKind::kElf64);
  const x86::Registers& r = loaded->boot_registers;
  EXPECT_EQ(r.rip, L::kCode + 0x10);
  EXPECT_TRUE(r.efer & x86::efer::kLma);
  EXPECT_EQ(PeekText(*memory, r.gpr[x86::kRdi]), "technique=direct");
  EXPECT_EQ(r.gpr[x86::kRsi], kTestMemory);
  EXPECT_EQ(r.gpr[x86::kRdx], 3u);
  EXPECT_EQ(Peek<uint8_t>(*memory, L::kCode + L::kCodeSize - 1), 0x5a);
  EXPECT_EQ(Peek<uint8_t>(*memory, L::kData + L::kDataFileSize - 1), 0x5a);
  EXPECT_EQ(Peek<uint8_t>(*memory, L::kData + L::kDataFileSize), 0);
  EXPECT_FALSE(loaded->abi_version);
}

TEST(Elf64, KeepsItsFunctionsSorted) {
  auto loaded = LoadAlone(MakeElf64());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_EQ(loaded->symbols.size(), 2u);
  EXPECT_EQ(loaded->symbols[0].name, "start");
  EXPECT_EQ(loaded->symbols[0].address, L::kCode + 0x10);
  EXPECT_EQ(loaded->symbols[0].size, 0x30u);
  EXPECT_EQ(loaded->symbols[1].name, "finish");
}

TEST(Elf64, ASpoiltSymbolTableCostsOnlyTheTable) {
  const std::function<void(ImageBytes&)> kSpoilers[] = {
      [](ImageBytes& e) { HeaderOf(e).e_shoff = ~uint64_t{0} - 10; },
      [](ImageBytes& e) { HeaderOf(e).e_shoff = e.size(); },
      [](ImageBytes& e) { HeaderOf(e).e_shnum = 0xffff; },
      [](ImageBytes& e) { HeaderOf(e).e_shentsize = 1; },
      [](ImageBytes& e) { SectionOf(e, 1).sh_offset = ~uint64_t{0}; },
      [](ImageBytes& e) { SectionOf(e, 1).sh_size = ~uint64_t{0}; },
      [](ImageBytes& e) { SectionOf(e, 1).sh_link = 77; },
      [](ImageBytes& e) { SectionOf(e, 2).sh_offset = e.size(); },
      [](ImageBytes& e) { SectionOf(e, 2).sh_size = ~uint64_t{0}; },
      [](ImageBytes& e) { SectionOf(e, 2).sh_size = 0; },
      [](ImageBytes& e) { SectionOf(e, 3).sh_flags = SHF_ALLOC; },
      [](ImageBytes& e) { SectionOf(e, 3).sh_size = 0x10; },
  };
  for (const auto& spoil : kSpoilers) {
    ImageBytes image = MakeElf64();
    spoil(image);
    auto loaded = LoadAlone(image);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_TRUE(loaded->symbols.empty());
  }
}

TEST(Elf64, ANameWithoutItsEndIsCutAtTheTable) {
  ImageBytes image = MakeElf64();
  SectionOf(image, 2).sh_size = 10;  // "\0start\0fin"
  auto loaded = LoadAlone(image);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_EQ(loaded->symbols.size(), 2u);
  EXPECT_EQ(loaded->symbols[1].name, "fin");
}

TEST(Elf64, SaysWhichAbiItWasWrittenFor) {
  ImageBytes image = MakeElf64();
  AddNote(image, "Somebody", 77);
  EXPECT_FALSE(LoadAlone(image)->abi_version);
  image = MakeElf64();
  AddNote(image, "Trapline", TRAPLINE_ABI_VERSION);
  auto loaded = LoadAlone(image);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->abi_version, TRAPLINE_ABI_VERSION);
}

struct BadField {
  const char* field;
  std::function<void(ImageBytes&)> spoil;
};

TEST(Elf64, RefusesWhatIsWrongByName) {
  constexpr uint64_t kHuge = ~uint64_t{0};
  const BadField kCases[] = {
      {"e_ident", [](ImageBytes& e) { e.resize(5); }},
      {"e_ident", [](ImageBytes& e) { e.resize(sizeof(Elf64_Ehdr) - 1); }},
      {"e_ident", [](ImageBytes& e) { HeaderOf(e).e_ident[EI_CLASS] = 9; }},
      {"e_ident", [](ImageBytes& e) { HeaderOf(e).e_ident[EI_DATA] = ELFDATA2MSB; }},
      {"e_machine", [](ImageBytes& e) { HeaderOf(e).e_machine = EM_AARCH64; }},
      {"e_type", [](ImageBytes& e) { HeaderOf(e).e_type = ET_REL; }},
      {"e_phentsize", [](ImageBytes& e) { HeaderOf(e).e_phentsize = 8; }},
      {"e_phnum", [](ImageBytes& e) { HeaderOf(e).e_phnum = 0; }},
      {"e_phnum", [](ImageBytes& e) { HeaderOf(e).e_phnum = 0xffff; }},
      {"e_phoff", [](ImageBytes& e) { HeaderOf(e).e_phoff = e.size() - 8; }},
      {"e_phoff", [](ImageBytes& e) { HeaderOf(e).e_phoff = kHuge - 8; }},
      {"p_filesz", [](ImageBytes& e) { SegmentOf(e, 0).p_filesz = L::kCodeSize + 1; }},
      {"p_offset", [](ImageBytes& e) { SegmentOf(e, 0).p_offset = e.size(); }},
      {"p_offset", [](ImageBytes& e) { SegmentOf(e, 0).p_offset = kHuge; }},
      {"p_offset",
       [](ImageBytes& e) { SegmentOf(e, 0).p_filesz = SegmentOf(e, 0).p_memsz = kHuge; }},
      {"p_paddr", [](ImageBytes& e) { SegmentOf(e, 1).p_memsz = kHuge; }},
      {"p_paddr", [](ImageBytes& e) { SegmentOf(e, 0).p_paddr = kTestMemory; }},
      {"p_paddr", [](ImageBytes& e) { SegmentOf(e, 0).p_paddr = kHuge - 8; }},
      {"p_paddr", [](ImageBytes& e) { SegmentOf(e, 0).p_paddr = 0x8000; }},
      {"p_paddr", [](ImageBytes& e) { SegmentOf(e, 0).p_paddr = 0x100000 - 1; }},
      {"p_paddr", [](ImageBytes& e) { SegmentOf(e, 1).p_paddr = L::kCode + L::kCodeSize - 1; }},
      {"p_paddr", [](ImageBytes& e) { SegmentOf(e, 1).p_paddr = L::kCode; }},
      {"e_entry", [](ImageBytes& e) { HeaderOf(e).e_entry = L::kCode - 1; }},
      {"e_entry", [](ImageBytes& e) { HeaderOf(e).e_entry = L::kCode + L::kCodeSize; }},
      {"e_phnum", [](ImageBytes& e) { SegmentOf(e, 0).p_type = SegmentOf(e, 1).p_type = PT_NULL; }},
      {"n_type", [](ImageBytes& e) { AddNote(e, "Trapline", TRAPLINE_ABI_VERSION + 1); }},
      {"n_descsz",
       [](ImageBytes& e) {
         AddNote(e, "Trapline", TRAPLINE_ABI_VERSION);
         SegmentOf(e, 2).p_filesz -= 4;
       }},
      {"p_offset",
       [](ImageBytes& e) {
         AddNote(e, "Trapline", TRAPLINE_ABI_VERSION);
         SegmentOf(e, 2).p_offset = e.size();
       }},
  };
  for (const BadField& test : kCases) {
    ImageBytes image = MakeElf64();
    test.spoil(image);
    auto loaded = LoadAlone(image);
    ASSERT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument) << test.field;
    EXPECT_THAT(MessageOf(loaded), HasSubstr(test.field));
  }
}

TEST(Elf64, RefusesAnInitrd) {
  auto memory = TestMemory();
  ImageBytes image = MakeElf64(), initrd(10);
  EXPECT_THAT(MessageOf(LoadImage(*memory, {image, initrd, "", 1})), StartsWith("initrd:"));
}

TEST(Elf32, NeedsAMultibootHeader) {
  ImageBytes image = MakeElf32(0x100000);
  Poke<uint32_t>(image, 0x100, 0);
  EXPECT_THAT(MessageOf(LoadAlone(image)), HasSubstr("e_ident"));
}

}  // namespace
}  // namespace trapline::machine

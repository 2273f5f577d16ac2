// SPDX-License-Identifier: Apache-2.0
// Which symbols of an ELF file name code, and how far each does.
#include "core/machine/loader/elf_symbols.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/loader/image_bytes.h"

namespace trapline::machine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kEnd = 0x2000;

ElfSymbol Function(uint64_t address, uint64_t size, const std::string& name) {
  return {address, size, kEnd, name, true, true};
}
ElfSymbol Label(uint64_t address, const std::string& name) {
  return {address, 0, kEnd, name, true, false};
}

// "name address+size" of each.
std::vector<std::string> Covered(std::vector<ElfSymbol> symbols) {
  std::vector<std::string> covered;
  for (const Symbol& symbol : CodeSymbols(std::move(symbols))) {
    char text[64];
    snprintf(text, sizeof text, "%s %zx+%zx", symbol.name.c_str(),
             static_cast<size_t>(symbol.address), static_cast<size_t>(symbol.size));
    covered.emplace_back(text);
  }
  return covered;
}

TEST(ElfSymbols, ALabelReachesToTheNextSymbolOrTheEndOfItsSection) {
  EXPECT_THAT(Covered({Label(0x1f00, "last"), Label(0x1000, "first")}),
              ElementsAre("first 1000+f00", "last 1f00+100"));
}

TEST(ElfSymbols, ALabelInAFunctionEndsWithIt) {
  EXPECT_THAT(Covered({Function(0x1000, 0x20, "function"), Label(0x1010, "label"),
                       Label(0x1100, "behind")}),
              ElementsAre("function 1000+20", "label 1010+10", "behind 1100+f00"));
}

TEST(ElfSymbols, AFunctionNamesAnAddressRatherThanALabel) {
  EXPECT_THAT(Covered({Label(0x1000, "label"), Function(0x1000, 0x20, "function")}),
              ElementsAre("function 1000+20"));
}

TEST(ElfSymbols, NothingReachesBehindItsSection) {
  EXPECT_THAT(Covered({Function(0x1ff0, ~uint64_t{0}, "long"), Function(kEnd, 4, "behind"),
                       Label(kEnd, "etext")}),
              ElementsAre("long 1ff0+10"));
}

TEST(ElfSymbols, DataNamesNoCode) {
  EXPECT_THAT(Covered({{0x1000, 8, kEnd, "table", false, false}}), IsEmpty());
}

TEST(ElfSymbols, AbsoluteAndUndefinedOnesAreLeftOut) {
  ImageBytes elf = MakeElf64();
  EXPECT_EQ(ReadElfSymbols(elf).size(), 2u);
  auto* symbols = reinterpret_cast<Elf64_Sym*>(elf.data() + SectionOf(elf, 1).sh_offset);
  symbols[1].st_shndx = SHN_ABS;
  symbols[2].st_shndx = SHN_UNDEF;
  EXPECT_THAT(ReadElfSymbols(elf), IsEmpty());
}

// An ELF64 file whose one section is a note.
ImageBytes WithNote(const Elf64_Nhdr& note, std::string_view owner) {
  ImageBytes elf = MakeElf64();
  uint64_t at = elf.size();
  elf.resize(at + sizeof note + 4 + 20, std::byte{0xab});
  std::memcpy(elf.data() + at, &note, sizeof note);
  std::memcpy(elf.data() + at + sizeof note, owner.data(), owner.size());
  SectionOf(elf, 3) = {0, SHT_NOTE, SHF_ALLOC, 0xffffffff82000000, at, elf.size() - at, 0, 0, 4, 0};
  return elf;
}

TEST(ElfBuildId, IsFoundWithItsAddress) {
  auto id = FindElfBuildId(WithNote({4, 20, NT_GNU_BUILD_ID}, std::string_view("GNU\0", 4)));
  ASSERT_TRUE(id);
  EXPECT_EQ(id->address, 0xffffffff82000010u);
  EXPECT_EQ(id->bytes, std::vector<std::byte>(20, std::byte{0xab}));
}

TEST(ElfBuildId, IsNotTakenFromWhatIsNone) {
  constexpr std::string_view kGnu("GNU\0", 4);
  EXPECT_FALSE(FindElfBuildId(MakeElf64()));
  EXPECT_FALSE(FindElfBuildId(WithNote({4, 20, NT_GNU_ABI_TAG}, kGnu)));
  EXPECT_FALSE(FindElfBuildId(WithNote({4, 20, NT_GNU_BUILD_ID}, "Xen")));
  EXPECT_FALSE(FindElfBuildId(WithNote({4, 0, NT_GNU_BUILD_ID}, kGnu)));
  EXPECT_FALSE(FindElfBuildId(WithNote({4, 21, NT_GNU_BUILD_ID}, kGnu))) << "cut short";
  EXPECT_FALSE(FindElfBuildId(WithNote({~0u, ~0u, NT_GNU_BUILD_ID}, kGnu)));
}

}  // namespace
}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// The names of Debian's kernel's code: as its own memory tells them, and as files do that are made
// of that, at the addresses that the kernel was linked to and KASLR moves it from.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/vm/kernel_match.h"
#include "core/vm/kernel_symbols.h"
#include "tests/boot/debian.h"
#include "tests/vm/running_vm.h"
#include "tests/vm/vmlinux.h"

namespace trapline::vm {
namespace {

using ::testing::HasSubstr;

// Where a kernel is linked to (CONFIG_PHYSICAL_START of 16 MiB), and what KASLR moves it by.
constexpr uint64_t kLinked = 0xffffffff81000000;

class KernelNames : public ::testing::Test {
 protected:
  // Boots until the kernel is set up, holds it, and has its symbols looked for.
  std::unique_ptr<RunningVm> Boot(const std::string& symbols = "") {
    VmConfig config = DebianConfig(1);
    config.symbols_path = symbols;
    auto guest = std::make_unique<RunningVm>(config);
    EXPECT_TRUE(guest->made().ok()) << guest->made();
    EXPECT_TRUE(guest->vm().Start().ok());
    EXPECT_TRUE(guest->AwaitOutput("init: first line")) << guest->output();
    EXPECT_TRUE(guest->vm().Pause().ok());
    guest->vm().SymbolizeSites();
    return guest;
  }
  ~KernelNames() override { std::filesystem::remove(map_); }

  const std::string map_ =
      std::filesystem::temp_directory_path() / absl::StrCat("trapline-map-", getpid());
};

// The guest's memory, to search in.
std::unique_ptr<machine::GuestMemory> CopyOf(Vm& vm) {
  constexpr uint64_t kPiece = 1 << 20;
  auto memory = machine::GuestMemory::Create(vm.config().memory_bytes);
  EXPECT_TRUE(memory.ok());
  for (uint64_t at = 0; at < vm.config().memory_bytes; at += kPiece) {
    auto bytes = vm.ReadPhysical(at, kPiece);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    auto used = [](std::byte byte) { return byte != std::byte{0}; };
    if (std::any_of(bytes->begin(), bytes->end(), used)) {
      EXPECT_TRUE((*memory)->Write(at, *bytes).ok());
    }
  }
  return *std::move(memory);
}

std::optional<KernelTable> OwnTable(Vm& vm) {
  return FindKernelSymbols(*CopyOf(vm), [](const KernelTable&) { return true; });
}

// All code of the table has its names, to the last byte.
void ExpectNames(Vm& vm, const KernelTable& table) {
  const auto code = table.Code(0);
  EXPECT_GT(code.size(), 10'000u);
  size_t wrong = 0;
  for (const machine::Symbol& symbol : code) {
    const uint64_t last = symbol.size - 1;
    wrong += vm.Symbolize(symbol.address) != symbol.name;
    wrong += last != 0 && vm.Symbolize(symbol.address + last) !=
                              absl::StrCat(symbol.name, "+0x", absl::Hex(last));
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(vm.Symbolize(code.front().address - 1), "");
  EXPECT_EQ(vm.Symbolize(0xffffffffc0000000), "") << "a module";
}

uint64_t AddressOf(const KernelTable& table, const std::string& name) {
  for (const KernelSymbol& symbol : table.symbols()) {
    if (symbol.name == name) return symbol.address;
  }
  ADD_FAILURE() << "no " << name;
  return 0;
}

std::vector<KernelSymbol> Unmoved(const KernelTable& table, uint64_t slide) {
  std::vector<KernelSymbol> symbols(table.symbols().begin(), table.symbols().end());
  for (KernelSymbol& symbol : symbols) symbol.address -= slide;
  return symbols;
}

TEST_F(KernelNames, OfAFileAreThoseOfTheKernelsOwnMemory) {
  auto own = Boot();
  EXPECT_THAT(own->vm().symbols_state(), HasSubstr("kallsyms in the guest's memory"));
  auto table = OwnTable(own->vm());
  ASSERT_TRUE(table);
  ExpectNames(own->vm(), *table);
  const uint64_t slide = AddressOf(*table, "_text") - kLinked;
  EXPECT_EQ(slide % (2 << 20), 0u);
  RecordProperty("slide", absl::StrCat(absl::Hex(slide)));
  const auto symbols = Unmoved(*table, slide);

  // What else would show that a file is this kernel's.
  auto registers = own->vm().ReadRegisters(0);
  ASSERT_TRUE(registers.ok());
  KernelReader read = [&](uint64_t linear, std::span<std::byte> bytes) {
    auto got = own->vm().ReadLinear(0, linear, bytes.size());
    if (got.ok()) std::copy(got->begin(), got->end(), bytes.begin());
    return got.ok();
  };
  auto map = KernelTable::Make(symbols);
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_TRUE(MatchExports(*map, slide, read).ok()) << MatchExports(*map, slide, read);
  EXPECT_TRUE(MatchKallsyms(*map, slide, *table).ok()) << MatchKallsyms(*map, slide, *table);
  auto other = symbols;
  for (KernelSymbol& symbol : other) {
    if (symbol.address >= AddressOf(*map, "printk_sprint")) symbol.address += 16;
  }
  auto other_map = KernelTable::Make(other);
  ASSERT_TRUE(other_map.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(MatchExports(*other_map, slide, read)))
      << "a function grew";
  EXPECT_TRUE(absl::IsFailedPrecondition(MatchKallsyms(*other_map, slide, *table)));
  // The note of the build ID is the first of the kernel's notes.
  const uint64_t note = AddressOf(*table, "__start_notes");
  std::vector<std::byte> id(20);
  ASSERT_TRUE(read(note + 16, id));
  auto vmlinux = ReadSymbolFile(MakeVmlinux(symbols, note + 16 - slide, id));
  ASSERT_TRUE(vmlinux.ok()) << vmlinux.status();
  EXPECT_TRUE(MatchBuildId(*vmlinux, slide, read).ok());

  {
    std::ofstream out(map_);
    for (const KernelSymbol& symbol : symbols)
      out << absl::StrCat(absl::Hex(symbol.address, absl::kZeroPad16), " ",
                          std::string(1, symbol.type), " ", symbol.name, "\n");
  }
  own.reset();
  auto by_file = Boot(map_);
  EXPECT_THAT(by_file->vm().symbols_state(), HasSubstr(map_ + ", moved by 0x"));
  auto moved = OwnTable(by_file->vm());
  ASSERT_TRUE(moved);
  ExpectNames(by_file->vm(), *moved);
}

TEST_F(KernelNames, OfAFileOfAnotherBuildAreNotShown) {
  {
    std::ofstream out(map_);
    out << "ffffffff81000000 T _stext\n"
           "ffffffff81800b00 T asm_exc_divide_error\n"
           "ffffffff81800b40 T asm_exc_invalid_op\n"
           "ffffffff81800b80 T asm_exc_general_protection\n"
           "ffffffff81800bd0 T asm_exc_page_fault\n"
           "ffffffff82000000 T _etext\n";
  }
  auto guest = Boot(map_);
  EXPECT_THAT(guest->vm().symbols_state(), HasSubstr("none: "));
  auto table = OwnTable(guest->vm());
  ASSERT_TRUE(table);
  EXPECT_EQ(guest->vm().Symbolize(AddressOf(*table, "asm_exc_page_fault")), "");
}

}  // namespace
}  // namespace trapline::vm

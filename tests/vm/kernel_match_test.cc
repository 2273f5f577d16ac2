// SPDX-License-Identifier: Apache-2.0
// A file is taken for the running kernel's only where the kernel's own bytes say so.
#include "core/vm/kernel_match.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "tests/vm/vmlinux.h"

namespace trapline::vm {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kText = 0xffffffff81000000, kSlide = 6 << 20;
constexpr uint64_t kTable = kText + 0x100000, kNames = kText + 0x110000, kId = kText + 0x130000;
constexpr uint64_t kImageSize = 0x140000;
constexpr int kExports = 300;
const std::vector<std::byte> kBuildId(20, std::byte{0x42});

std::string NameOf(int i) { return "function_" + std::to_string(i); }

std::vector<KernelSymbol> Symbols(int exports = kExports) {
  std::vector<KernelSymbol> symbols = {{kText, 'T', "_stext"}, {kText + 0x80000, 'T', "_etext"}};
  for (int i = 0; i < kExports; ++i)
    symbols.push_back({kText + 64 * static_cast<uint64_t>(i + 1), 'T', NameOf(i)});
  for (int i = 0; i < exports; ++i)
    symbols.push_back({kTable + 12 * static_cast<uint64_t>(i), 'r', "__ksymtab_" + NameOf(i)});
  return symbols;
}

// A kernel's image in memory, kSlide higher than its file has it, which exports its functions.
class Kernel {
 public:
  Kernel() : bytes_(kImageSize) {
    for (int i = 0; i < kExports; ++i) {
      uint64_t at = kTable + 12 * static_cast<uint64_t>(i),
               name = kNames + 32 * static_cast<uint64_t>(i);
      Put(at, static_cast<int32_t>(kText + 64 * static_cast<uint64_t>(i + 1) - at));
      Put(at + 4, static_cast<int32_t>(name - (at + 4)));
      std::memcpy(&bytes_[name - kText], NameOf(i).c_str(), NameOf(i).size() + 1);
    }
    std::memcpy(&bytes_[kId - kText], kBuildId.data(), kBuildId.size());
  }
  template <typename T>
  void Put(uint64_t linear, T value) {
    std::memcpy(&bytes_[linear - kText], &value, sizeof value);
  }
  KernelReader Reader() const {
    return [this](uint64_t linear, std::span<std::byte> bytes) {
      uint64_t offset = linear - kSlide - kText;
      if (offset > bytes_.size() || bytes.size() > bytes_.size() - offset) return false;
      std::memcpy(bytes.data(), &bytes_[offset], bytes.size());
      return true;
    };
  }

 private:
  std::vector<std::byte> bytes_;
};

KernelTable Table(std::vector<KernelSymbol> symbols) {
  auto table = KernelTable::Make(std::move(symbols));
  EXPECT_TRUE(table.ok()) << table.status();
  return *std::move(table);
}

TEST(KernelMatch, ByItsBuildId) {
  Kernel kernel;
  auto file = ReadSymbolFile(MakeVmlinux(Symbols(), kId, kBuildId));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(MatchBuildId(*file, kSlide, kernel.Reader()).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(MatchBuildId(*file, 2 * kSlide, kernel.Reader())));
  kernel.Put<uint8_t>(kId + 19, 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(MatchBuildId(*file, kSlide, kernel.Reader())));
  auto without = ReadSymbolFile(MakeVmlinux(Symbols(), kId, {}));
  EXPECT_TRUE(absl::IsUnavailable(MatchBuildId(*without, kSlide, kernel.Reader())));
}

TEST(KernelMatch, ByWhatItExports) {
  Kernel kernel;
  EXPECT_TRUE(MatchExports(Table(Symbols()), kSlide, kernel.Reader()).ok());
  EXPECT_TRUE(absl::IsUnavailable(MatchExports(Table(Symbols(255)), kSlide, kernel.Reader())))
      << "too few to tell";
}

TEST(KernelMatch, OneExportElsewhereIsAnotherBuild) {
  Kernel kernel;
  auto symbols = Symbols();
  symbols[2 + 299].address += 16;
  absl::Status moved = MatchExports(Table(symbols), kSlide, kernel.Reader());
  EXPECT_TRUE(absl::IsFailedPrecondition(moved));
  EXPECT_THAT(std::string(moved.message()), HasSubstr("function_299"));
  kernel.Put<char>(kNames + 32 * 100, 'F');
  absl::Status renamed = MatchExports(Table(Symbols()), kSlide, kernel.Reader());
  EXPECT_TRUE(absl::IsFailedPrecondition(renamed));
  EXPECT_THAT(std::string(renamed.message()), HasSubstr("function_100"));
}

TEST(KernelMatch, AnExportThatLeadsNowhereIsAnotherBuild) {
  Kernel kernel;
  kernel.Put<int32_t>(kTable + 4, INT32_MIN);
  EXPECT_TRUE(absl::IsFailedPrecondition(MatchExports(Table(Symbols()), kSlide, kernel.Reader())));
}

TEST(KernelMatch, ByItsOwnTable) {
  auto moved = Symbols();
  for (KernelSymbol& symbol : moved) symbol.address += kSlide;
  EXPECT_TRUE(MatchKallsyms(Table(Symbols()), kSlide, Table(moved)).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(MatchKallsyms(Table(Symbols()), 0, Table(moved))));
  moved[100].name = "another";
  absl::Status renamed = MatchKallsyms(Table(Symbols()), kSlide, Table(moved));
  EXPECT_TRUE(absl::IsFailedPrecondition(renamed));
  EXPECT_THAT(std::string(renamed.message()), HasSubstr("another"));
}

}  // namespace
}  // namespace trapline::vm

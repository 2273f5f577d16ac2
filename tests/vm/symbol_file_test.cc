// SPDX-License-Identifier: Apache-2.0
// System.map and vmlinux are read; what is neither is refused with the place that says so.
#include "core/vm/symbol_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "tests/vm/vmlinux.h"

namespace trapline::vm {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kText = 0xffffffff81000000;
constexpr std::string_view kMap =
    "0000000000000000 A __per_cpu_start\n"
    "ffffffff81000000 T _stext\n"
    "ffffffff81000010 t function\r\n"
    "\n"
    "ffffffff81000100 T _etext\n"
    "ffffffffc0000000 t of_a_module\t[module]\n";

absl::StatusOr<SymbolFile> Read(std::string_view text) {
  return ReadSymbolFile(std::as_bytes(std::span(text)));
}
std::string Refusal(std::string_view text) {
  auto file = Read(text);
  EXPECT_TRUE(absl::IsInvalidArgument(file.status())) << file.status();
  return std::string(file.status().message());
}

TEST(SymbolFile, ReadsASystemMap) {
  auto file = Read(kMap);
  ASSERT_TRUE(file.ok()) << file.status();
  auto code = file->table.Code(0);
  ASSERT_EQ(code.size(), 2u);
  EXPECT_EQ(code[1].name, "function");
  EXPECT_EQ(code[1].address, kText + 0x10);
  EXPECT_FALSE(file->build_id);
}

TEST(SymbolFile, RefusesWhatIsNoMap) {
  EXPECT_THAT(Refusal("what is this\n"), HasSubstr("line 1"));
  EXPECT_THAT(Refusal("ffffffff81000000 T _stext\nffffffff81000000 T\n"), HasSubstr("line 2"));
  EXPECT_THAT(Refusal("ffffffff81000000 TT _stext\n"), HasSubstr("line 1"));
  EXPECT_THAT(Refusal("ffffffff8100000000 T _stext\n"), HasSubstr("line 1"));
  EXPECT_THAT(Refusal(std::string(1 << 20, 'x')), HasSubstr("line 1"));
  EXPECT_THAT(Refusal("ffffffffffffffff B The_real_one_is_in_another_package\n"),
              HasSubstr("_stext"));
  EXPECT_THAT(Refusal("0000000000000000 T _stext\n0000000000000000 T _etext\n"),
              HasSubstr("hidden"));
}

TEST(SymbolFile, ReadsAVmlinux) {
  const std::vector<KernelSymbol> symbols = {{kText, 'T', "_stext"},
                                             {kText + 0x10, 't', "function"},
                                             {kText + 0x100, 'T', "_etext"},
                                             {kText + 0x2000, 'd', "data"}};
  const std::vector<std::byte> id(20, std::byte{7});
  auto file = ReadSymbolFile(MakeVmlinux(symbols, kText + 0x3000, id));
  ASSERT_TRUE(file.ok()) << file.status();
  auto code = file->table.Code(0);
  ASSERT_EQ(code.size(), 2u);
  EXPECT_EQ(code[1].name, "function");
  EXPECT_EQ(code[1].size, 0xf0u);
  ASSERT_TRUE(file->build_id);
  EXPECT_EQ(file->build_id->address, kText + 0x3000);
  EXPECT_EQ(file->build_id->bytes, id);
}

TEST(SymbolFile, RefusesAVmlinuxWithoutSymbols) {
  auto bytes = MakeVmlinux({}, kText, {});
  auto file = ReadSymbolFile(bytes);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("symbol table"));
  bytes.resize(20);
  EXPECT_TRUE(absl::IsInvalidArgument(ReadSymbolFile(bytes).status()));
}

}  // namespace
}  // namespace trapline::vm

// SPDX-License-Identifier: Apache-2.0
// What a kernel's table names, and where its kernel is.
#include "core/vm/kernel_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/vm/symbols.h"

namespace trapline::vm {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kText = 0xffffffff81000000;
constexpr uint64_t kUnit = 2 << 20;

std::vector<KernelSymbol> Symbols() {
  return {{0x1000, 'A', "per_cpu_thing"},
          {kText, 'T', "_stext"},
          {kText + 0x100, 'T', "asm_exc_divide_error"},
          {kText + 0x200, 'T', "asm_exc_invalid_op"},
          {kText + 0x300, 'T', "asm_exc_general_protection"},
          {kText + 0x400, 'T', "asm_exc_page_fault"},
          {kText + 0x500, 't', "last"},
          {kText + 0x600, 'T', "_etext"},
          {kText + 0x2000, 'D', "data"},
          {kText + 0x3000, 't', "stray"},
          {kText + 0x4000, 'T', "_sinittext"},
          {kText + 0x4100, 't', "init_function"},
          {kText + 0x4200, 'T', "_einittext"}};
}

TrapHandlers HandlersAt(uint64_t slide) {
  TrapHandlers handlers{};
  for (size_t i = 0; i < handlers.linear.size(); ++i)
    handlers.linear[i] = kText + 0x100 * (i + 1) + slide;
  return handlers;
}

std::string NameOf(uint64_t offset, uint64_t slide = 0) {
  auto table = KernelTable::Make(Symbols());
  EXPECT_TRUE(table.ok()) << table.status();
  return SymbolTable(table->Code(slide)).Find(kText + slide + offset);
}

TEST(KernelTable, NamesTextAndInitText) {
  EXPECT_EQ(NameOf(0), "_stext");
  EXPECT_EQ(NameOf(0x4ff), "asm_exc_page_fault+0xff");
  EXPECT_EQ(NameOf(0x5ff), "last+0xff");
  EXPECT_EQ(NameOf(0x4150), "init_function+0x50");
  EXPECT_EQ(NameOf(0x4150, 3 * kUnit), "init_function+0x50");
}

TEST(KernelTable, NamesNeitherGapsNorDataNorModules) {
  for (uint64_t offset : {0x600, 0x1000, 0x2000, 0x3000, 0x3fff, 0x4200, 0x3f000000})
    EXPECT_EQ(NameOf(offset), "") << offset;
  EXPECT_EQ(NameOf(0ul - 1), "");
}

TEST(KernelTable, OfSeveralNamesTakesTheKernelsOwnChoice) {
  auto symbols = Symbols();
  symbols.insert(symbols.begin(), {{kText + 0x500, 'W', "a_weak"},
                                   {kText + 0x500, 't', "__start_of_things"},
                                   {kText + 0x500, 't', "__underscored"}});
  auto table = KernelTable::Make(symbols);
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(SymbolTable(table->Code(0)).Find(kText + 0x500), "last");
}

TEST(KernelTable, WithoutATextIsRefused) {
  auto message = [](const std::vector<KernelSymbol>& symbols) {
    auto table = KernelTable::Make(symbols);
    EXPECT_TRUE(absl::IsInvalidArgument(table.status()));
    return std::string(table.status().message());
  };
  EXPECT_THAT(message({}), HasSubstr("_stext"));
  EXPECT_THAT(message({{kText, 'T', "_stext"}}), HasSubstr("_etext"));
  EXPECT_THAT(message({{0, 'T', "_stext"}, {0, 'T', "_etext"}}), HasSubstr("hidden"));
}

TEST(KernelTable, TellsTheSlideByTrapHandlers) {
  auto table = KernelTable::Make(Symbols());
  ASSERT_TRUE(table.ok());
  for (uint64_t slide : {uint64_t{0}, kUnit, 400 * kUnit}) {
    auto found = table->SlideTo(HandlersAt(slide));
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found, slide);
  }
}

TEST(KernelTable, TellsNoSlideThatHandlersDoNotAgreeOn) {
  auto table = KernelTable::Make(Symbols());
  ASSERT_TRUE(table.ok());
  for (size_t i = 0; i < kTrapVectors.size(); ++i) {
    TrapHandlers handlers = HandlersAt(kUnit);
    handlers.linear[i] += 16;
    EXPECT_TRUE(absl::IsFailedPrecondition(table->SlideTo(handlers).status())) << i;
  }
  EXPECT_FALSE(table->SlideTo(HandlersAt(4096)).ok()) << "not whole units";
  EXPECT_FALSE(table->SlideTo(HandlersAt(600 * kUnit)).ok()) << "farther than KASLR goes";
  EXPECT_FALSE(table->SlideTo(HandlersAt(0 - kUnit)).ok()) << "downwards";
  auto symbols = Symbols();
  symbols[5].name = "another";
  auto without = KernelTable::Make(symbols);
  ASSERT_TRUE(without.ok());
  EXPECT_THAT(std::string(without->SlideTo(HandlersAt(0)).status().message()),
              HasSubstr("asm_exc_page_fault"));
}

TEST(KernelTable, KnowsHandlersByTheirOlderNames) {
  auto symbols = Symbols();
  symbols[2].name = "divide_error";
  symbols[3].name = "invalid_op";
  symbols[4].name = "general_protection";
  symbols[5].name = "async_page_fault";
  symbols.push_back({kText + 0x480, 'T', "page_fault"});
  auto table = KernelTable::Make(symbols);
  ASSERT_TRUE(table.ok());
  EXPECT_TRUE(table->SlideTo(HandlersAt(kUnit)).ok());
}

}  // namespace
}  // namespace trapline::vm

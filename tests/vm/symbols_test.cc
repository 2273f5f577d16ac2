// SPDX-License-Identifier: Apache-2.0
// An address has the name of what covers it, and of nothing else.
#include "core/vm/symbols.h"

#include <gtest/gtest.h>

namespace trapline::vm {
namespace {

TEST(SymbolTable, NamesWhatASymbolCovers) {
  SymbolTable table({{0x1000, 0x10, "first"}, {0x1010, 0x10, "second"}});
  EXPECT_EQ(table.Find(0x1000), "first");
  EXPECT_EQ(table.Find(0x100f), "first+0xf");
  EXPECT_EQ(table.Find(0x1010), "second");
  EXPECT_EQ(table.size(), 2u);
}

TEST(SymbolTable, NamesNothingInAGapOrOutside) {
  SymbolTable table({{0x1000, 0x10, "first"}, {0x2000, 0x10, "second"}});
  for (uint64_t address : {uint64_t{0}, uint64_t{0xfff}, uint64_t{0x1010}, uint64_t{0x1fff},
                           uint64_t{0x2010}, ~uint64_t{0}})
    EXPECT_EQ(table.Find(address), "") << address;
  EXPECT_EQ(SymbolTable().Find(0x1000), "");
}

TEST(SymbolTable, GoesBackToTheFunctionBehindALabelsEnd) {
  SymbolTable table({{0x1000, 0x100, "outer"},
                     {0x1010, 0x10, "inner"},
                     {0x1012, 2, "innermost"},
                     {0x1040, 0x10, "later"}});
  EXPECT_EQ(table.Find(0x1012), "innermost");
  EXPECT_EQ(table.Find(0x1014), "inner+0x4");
  EXPECT_EQ(table.Find(0x1020), "outer+0x20");
  EXPECT_EQ(table.Find(0x1045), "later+0x5");
  EXPECT_EQ(table.Find(0x1050), "outer+0x50");
  EXPECT_EQ(table.Find(0x1100), "");
}

}  // namespace
}  // namespace trapline::vm

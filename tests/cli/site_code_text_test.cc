// SPDX-License-Identifier: Apache-2.0
// The code around a site as people read it.
#include "cli/site_code_text.h"

#include <string>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trapline::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

void Set(v1::SiteCode::Instruction* instruction, uint64_t address, const std::string& bytes,
         const std::string& text, const std::string& symbol) {
  instruction->set_address(address);
  instruction->set_bytes(bytes);
  instruction->set_text(text);
  instruction->set_symbol(symbol);
}

v1::SiteCode Code() {
  v1::SiteCode code;
  auto* line = code.add_lines();
  line->set_address(0x1ffb);
  Set(line->mutable_original(), 0x1ffb, "\xb8\x01\1\1\1", "mov eax, 1", "Main+0x5");
  *line->mutable_current() = line->original();
  line = code.add_lines();
  line->set_address(0x2000);
  line->set_site(true);
  Set(line->mutable_original(), 0x2000, "\x0f\x01\xc1", "vmcall", "Main+0xa");
  Set(line->mutable_current(), 0x2000, "\xcd\x1f", "int 0x1f", "Main+0xa");
  line = code.add_lines();
  line->set_address(0x2002);
  line->set_site(true);
  Set(line->mutable_current(), 0x2002, "\x90", "nop", "Main+0xc");
  return code;
}

TEST(SiteCodeText, MarksTheSiteAndShowsItsBytes) {
  EXPECT_THAT(std::vector<std::string>(absl::StrSplit(SiteCodeText(Code(), false), '\n')),
              ElementsAre("   ADDRESS  AS THE GUEST WROTE IT   NOW",         //
                          "            Main+0x5:",                           //
                          "      1ffb  mov eax, 1              mov eax, 1",  //
                          ">     2000  0f 01 c1        vmcall  cd 1f           int 0x1f",
                          ">     2002                          90              nop", ""));
}

TEST(SiteCodeText, ShowsTrampolinesBelow) {
  v1::SiteCode code = Code();
  auto* stub = code.add_trampolines();
  stub->set_name("stub");
  stub->set_address(0xb2000);
  Set(stub->add_instructions(), 0xb2000, "\x90", "nop", "stub");
  auto* entry = code.add_trampolines();
  entry->set_name("entry");
  entry->set_address(0x500000000040);
  Set(entry->add_instructions(), 0x500000000040, "\x90", "nop", "linked_entry");
  EXPECT_THAT(SiteCodeText(code, false),
              HasSubstr("\nstub at 0xb2000\n             b2000  nop\n"
                        "\nentry at 0x500000000040\nlinked_entry:\n      500000000040  nop\n"));
}

TEST(SiteCodeText, StaysWithinAHundredAndTwentyColumns) {
  v1::SiteCode code;
  auto* line = code.add_lines();
  line->set_address(0xffffffff81000000);
  line->set_site(true);
  Set(line->mutable_original(), line->address(), std::string(15, '\x66'), std::string(200, 'x'),
      std::string(200, 's'));
  *line->mutable_current() = line->original();
  for (absl::string_view text : absl::StrSplit(SiteCodeText(code, false), '\n'))
    EXPECT_LE(text.size(), 120u) << text;
}

TEST(SiteCodeText, LetsNothingOfTheGuestsControlTheTerminal) {
  v1::SiteCode code = Code();
  code.mutable_lines(0)->mutable_original()->set_symbol("\033[2J");
  EXPECT_THAT(SiteCodeText(code, false), Not(HasSubstr("\033")));
}

}  // namespace
}  // namespace trapline::cli

// SPDX-License-Identifier: Apache-2.0
// The code around a site: as made-up bytes, and of real guests on each engine, trapping, rewritten
// and linked.
#include "core/vm/site_code.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "core/hypercall/stats_reader.h"
#include "tests/vm/running_vm.h"

namespace trapline::vm {
namespace {

using hypercall::SiteState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr uint64_t kCode = 0x201000;

std::vector<std::byte> Bytes(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}
std::string NoNames(uint64_t) { return ""; }

// "0x201003: original | current", a site's marked.
std::vector<std::string> Text(const std::vector<SiteLine>& lines) {
  std::vector<std::string> text;
  for (const SiteLine& line : lines) {
    text.push_back((line.site ? "> " : "") + (line.original ? line.original->text : "") + " | " +
                   (line.current ? line.current->text : ""));
  }
  return text;
}

// mov eax, 1; push rbx; vmcall; mov ebx, eax; ret
const std::vector<std::byte> kPlain =
    Bytes({0xb8, 1, 0, 0, 0, 0x53, 0x0f, 0x01, 0xc1, 0x89, 0xc3, 0xc3});
constexpr uint64_t kSite = kCode + 6;

CodeWindow Window(const std::vector<std::byte>& original, std::vector<std::byte> now = {}) {
  CodeWindow window{kCode, original, original, 64, kCode};
  std::copy(now.begin(), now.end(), window.current.begin() + 6);
  return window;
}

TEST(SiteLines, OfACodeThatIsAsItWas) {
  EXPECT_THAT(Text(SiteLines(Window(kPlain), kSite, 6, 6, NoNames)),
              ElementsAre("mov eax, 0x01 | mov eax, 0x01", "push rbx | push rbx",
                          "> vmcall | vmcall", "mov ebx, eax | mov ebx, eax", "ret | ret"));
}

TEST(SiteLines, AreAsManyAsAskedFor) {
  EXPECT_THAT(
      Text(SiteLines(Window(kPlain), kSite, 1, 1, NoNames)),
      ElementsAre("push rbx | push rbx", "> vmcall | vmcall", "mov ebx, eax | mov ebx, eax"));
  EXPECT_THAT(SiteLines(Window(kPlain), kSite, 0, 0, NoNames), SizeIs(1));
}

TEST(SiteLines, AnInterruptAndWhatIsBehindItInTheSite) {
  EXPECT_THAT(Text(SiteLines(Window(kPlain, Bytes({0xcd, 0x1f, 0x90})), kSite, 1, 1, NoNames)),
              ElementsAre("push rbx | push rbx", "> vmcall | int 0x1F", ">  | nop",
                          "mov ebx, eax | mov ebx, eax"));
}

TEST(SiteLines, AnArmedSiteHasNoInstructionInItsLastByte) {
  EXPECT_THAT(Text(SiteLines(Window(kPlain, Bytes({0x0f, 0x0b, 0xc1})), kSite, 1, 1, NoNames)),
              ElementsAre("push rbx | push rbx", "> vmcall | ud2", "mov ebx, eax | mov ebx, eax"));
}

// The jump's last two bytes are the next instruction, where calls go on.
TEST(SiteLines, APunnedJumpLeavesWhatItSharesBytesWith) {
  auto lines = SiteLines(Window(kPlain, Bytes({0xe9, 0x00, 0x10})), kSite, 1, 1,
                         [](uint64_t address) { return address < kCode ? "stub" : ""; });
  EXPECT_THAT(Text(lines), ElementsAre("push rbx | push rbx", StartsWith("> vmcall | jmp "),
                                       "mov ebx, eax | mov ebx, eax"));
  EXPECT_EQ(lines[1].current->bytes.size(), 5u);
}

TEST(SiteLines, AJumpOfFiveBytesTakesThePadding) {
  auto five = Bytes({0xb8, 1, 0, 0, 0, 0x53, 0x0f, 0x01, 0xc1, 0x66, 0x90, 0xc3});
  auto lines = SiteLines(Window(five, Bytes({0xe9, 0xf5, 0xff, 0xff, 0xff})), kSite, 1, 2,
                         [](uint64_t address) { return address == kCode ? "start" : ""; });
  EXPECT_THAT(Text(lines),
              ElementsAre("push rbx | push rbx", "> vmcall | jmp start", "> nop | ", "ret | ret"));
}

TEST(SiteLines, ASiteBehindASiteIsItsOwn) {
  auto two = Bytes({0xb8, 1, 0, 0, 0, 0x53, 0x0f, 0x01, 0xc1, 0x0f, 0x01, 0xc1, 0xc3});
  EXPECT_THAT(Text(SiteLines(Window(two, Bytes({0x0f, 0x0b, 0xc1, 0x0f, 0x0b, 0xc1})), kSite, 0, 2,
                             NoNames)),
              ElementsAre("> vmcall | ud2", "vmcall | ud2", "ret | ret"));
}

// Without a function to begin at: bytes before code that are no instruction's start lead to the
// same instructions after a few, and the majority is right.
TEST(SiteLines, BeginWhereMostStartsAgree) {
  std::vector<std::byte> code(64, std::byte{0xcc});
  code.insert(code.end(), 8, std::byte{0x90});
  code.insert(code.end(), kPlain.begin(), kPlain.end());
  CodeWindow window{kCode, code, code, 64, std::nullopt};
  EXPECT_THAT(Text(SiteLines(window, kCode + 72 + 6, 3, 0, NoNames)),
              ElementsAre("nop | nop", "mov eax, 0x01 | mov eax, 0x01", "push rbx | push rbx",
                          "> vmcall | vmcall"));
}

TEST(SiteLines, BeginAtASiteThatNothingLeadsTo) {
  // Any start before it takes the site's bytes along.
  auto code = Bytes({0x48, 0xb8, 0x0f, 0x01, 0xc1, 0, 0, 0, 0, 0, 0xc3});
  CodeWindow window{kCode, code, code, 64, kCode};
  EXPECT_THAT(Text(SiteLines(window, kCode + 2, 6, 0, NoNames)), ElementsAre("> vmcall | vmcall"));
  EXPECT_THAT(SiteLines(window, kCode + 100, 6, 6, NoNames), SizeIs(0)) << "outside";
}

// ---- Real guests ----

class SiteCodes : public ::testing::TestWithParam<EngineKind> {
 protected:
  void Start(const std::string& guest, const std::string& command_line) {
    VmConfig config = GuestConfig(guest, command_line, 1, GetParam());
    config.stats_path = path_;
    guest_ = std::make_unique<RunningVm>(config);
    ASSERT_TRUE(guest_->made().ok()) << guest_->made();
    ASSERT_TRUE(guest_->vm().Start().ok());
    auto reader = hypercall::StatsReader::Open(path_);
    ASSERT_TRUE(reader.ok()) << reader.status();
    reader_ = *std::move(reader);
  }
  ~SiteCodes() override { std::filesystem::remove(path_); }

  // The first site in that state, once there is one.
  uint64_t Await(SiteState state) {
    for (;;) {
      for (const hypercall::SiteView& site : reader_->Sites()) {
        if (site.state == state) return site.gpa;
      }
    }
  }
  SiteCode CodeOf(uint64_t gpa) {
    auto code = guest_->vm().DisassembleSite(gpa, 4, 4);
    EXPECT_TRUE(code.ok()) << code.status();
    return code.ok() ? *std::move(code) : SiteCode();
  }
  static const SiteLine& SiteOf(const SiteCode& code) {
    return *std::find_if(code.lines.begin(), code.lines.end(),
                         [](const SiteLine& line) { return line.site; });
  }
  // Both sides are whole instructions and alike but for sites.
  static void ExpectSound(const SiteCode& code) {
    ASSERT_GE(code.lines.size(), 9u);
    EXPECT_EQ(SiteOf(code).original->text, "vmcall");
    for (const SiteLine& line : code.lines) {
      EXPECT_FALSE(line.original && line.original->text == "(bad)");
      EXPECT_FALSE(line.current && line.current->text == "(bad)");
    }
    EXPECT_NE(code.lines.front().original->symbol, "");
  }
  void ExpectTrampolines(const SiteCode& code) {
    if (GetParam() == EngineKind::kSoft) {
      EXPECT_EQ(SiteOf(code).current->text, "int 0x1F");
      EXPECT_THAT(code.trampolines, SizeIs(0));
      return;
    }
    EXPECT_THAT(SiteOf(code).current->text, HasSubstr("jmp stub"));
    ASSERT_THAT(code.trampolines, SizeIs(2));
    EXPECT_EQ(code.trampolines[0].name, "stub");
    EXPECT_THAT(code.trampolines[0].instructions.front().text, StartsWith("mov [0x"));
    EXPECT_THAT(code.trampolines[0].instructions.back().text, StartsWith("jmp [0x"));
    EXPECT_EQ(code.trampolines[1].name, "entry");
    const auto& entry = code.trampolines[1].instructions;
    EXPECT_EQ(entry.front().symbol, "linked_entry");
    EXPECT_THAT(entry.back().text, StartsWith("jmp [0x"));
    EXPECT_TRUE(std::any_of(entry.begin(), entry.end(), [](const Instruction& instruction) {
      return absl::StrContains(instruction.text, "linked_slow");
    }));
  }

  const std::string path_ =
      std::filesystem::temp_directory_path() / ("trapline-site-code-" + std::to_string(getpid()));
  std::unique_ptr<RunningVm> guest_;
  std::unique_ptr<hypercall::StatsReader> reader_;
};

TEST_P(SiteCodes, OfALinkedSiteOfThreeBytes) {
  Start("hello", "calls=1000000000000");
  SiteCode code = CodeOf(Await(SiteState::kLinked));
  ExpectSound(code);
  ExpectTrampolines(code);
}

TEST_P(SiteCodes, OfALinkedSiteOfFiveBytes) {
  Start("hypercall_bench", "technique=linked calls=1000000000");
  SiteCode code = CodeOf(Await(SiteState::kLinked));
  ExpectSound(code);
  ExpectTrampolines(code);
  // On the real CPU the jump has the padding's place.
  const SiteLine& padding = *(&SiteOf(code) + (GetParam() == EngineKind::kDirect ? 1 : 2));
  ASSERT_TRUE(padding.original);
  EXPECT_EQ(padding.original->bytes, Bytes({0x66, 0x90}));
  EXPECT_EQ(padding.current.has_value(), GetParam() == EngineKind::kSoft);
}

TEST_P(SiteCodes, OfASiteThatTrapsAndOfOneThatWasReverted) {
  Start("hello", "calls=1000000000000");
  uint64_t gpa = Await(SiteState::kLinked);
  ASSERT_TRUE(guest_->vm().hypercalls().Revert(gpa).ok());
  SiteCode code = CodeOf(gpa);
  ExpectSound(code);
  const std::string now = SiteOf(code).current->text;
  EXPECT_TRUE(now == "vmcall" || now == "ud2") << now;
  EXPECT_THAT(code.trampolines, SizeIs(0));
}

TEST_P(SiteCodes, OfNoSiteAreNone) {
  Start("hello", "calls=1000000000000");
  uint64_t gpa = Await(SiteState::kLinked);
  EXPECT_TRUE(absl::IsNotFound(guest_->vm().DisassembleSite(gpa + 1, 4, 4).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(guest_->vm().DisassembleSite(gpa, 101, 4).status()));
}

TEST_P(SiteCodes, CanBeReadOfAVmThatIsOver) {
  Start("hello", "");
  ASSERT_TRUE(guest_->AwaitEnd());
  ExpectSound(CodeOf(reader_->Sites().at(0).gpa));
}

INSTANTIATE_TEST_SUITE_P(Engines, SiteCodes, ::testing::ValuesIn(TestedEngines()), EngineName);

}  // namespace
}  // namespace trapline::vm

// SPDX-License-Identifier: Apache-2.0
// Multiboot 1: by ELF and by address fields, low and high, and refusing what is wrong.
#include <functional>

#include "core/x86/flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/loader/image_bytes.h"

namespace trapline::machine {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// Offsets in the information (Multiboot Specification 0.6.96, section 3.3).
constexpr uint64_t kFlags = 0, kMemUpper = 8, kCmdline = 16, kModsCount = 20, kModsAddr = 24,
                   kMmapLength = 44, kMmapAddr = 48, kLoaderName = 64;
constexpr uint32_t kHasMemory = 1, kHasCommandLine = 1 << 2, kHasModules = 1 << 3, kHasMap = 1 << 6,
                   kHasName = 1 << 9;

void ExpectProtectedMode(const x86::Registers& r) {
  EXPECT_EQ(r.gpr[x86::kRax], 0x2badb002u);
  EXPECT_EQ(r.cr0 & (x86::cr0::kPe | x86::cr0::kPg), x86::cr0::kPe);
  EXPECT_EQ(r.efer, 0u);
  EXPECT_FALSE(r.rflags & x86::rflags::kIf);
  const x86::Segment& code = r.segment[x86::kCs];
  EXPECT_TRUE(code.attributes & x86::segment_attribute::kDefault32);
  EXPECT_FALSE(code.attributes & x86::segment_attribute::kLong);
  for (auto name : {x86::kCs, x86::kDs, x86::kEs, x86::kFs, x86::kGs, x86::kSs}) {
    EXPECT_EQ(r.segment[name].base, 0u);
    EXPECT_EQ(r.segment[name].limit, 0xffffffffu);
  }
}

TEST(Multiboot, LoadsByTheAddressFields) {
  auto memory = TestMemory();
  ImageBytes image = MakeMultiboot();
  auto loaded = LoadImage(*memory, {image, {}, "one two", 1});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->kind, ImageKind::kMultiboot);
  EXPECT_EQ(loaded->boot_registers.rip, 0x100100u);
  ExpectProtectedMode(loaded->boot_registers);
  EXPECT_EQ(Peek<uint8_t>(*memory, 0x100fff), 0x5a);
  EXPECT_EQ(Peek<uint8_t>(*memory, 0x101000), 0);
}

TEST(Multiboot, LoadsElf32AndElf64) {
  auto loaded = LoadAlone(MakeElf32(0x400000));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->kind, ImageKind::kMultiboot);
  EXPECT_EQ(loaded->boot_registers.rip, 0x400020u);
  ExpectProtectedMode(loaded->boot_registers);

  ImageBytes image = MakeElf64();
  PutMultibootHeader(image, 0x210);
  loaded = LoadAlone(image);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->kind, ImageKind::kMultiboot);
  EXPECT_EQ(loaded->boot_registers.rip, Elf64Layout::kCode + 0x10);
  EXPECT_EQ(loaded->symbols.size(), 2u);
  ExpectProtectedMode(loaded->boot_registers);
}

TEST(Multiboot, TellsWhatItKnows) {
  auto memory = TestMemory();
  ImageBytes image = MakeMultiboot(), module(5000, std::byte{9});
  auto loaded = LoadImage(*memory, {image, module, "one two", 1, "kernel.elf"});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  uint64_t info = loaded->boot_registers.gpr[x86::kRbx];
  uint32_t flags = Peek<uint32_t>(*memory, info + kFlags);
  EXPECT_EQ(flags, kHasMemory | kHasCommandLine | kHasModules | kHasMap | kHasName);
  EXPECT_EQ(Peek<uint32_t>(*memory, info + kMemUpper), (kTestMemory >> 10) - 1024);
  EXPECT_EQ(PeekText(*memory, Peek<uint32_t>(*memory, info + kCmdline)), "kernel.elf one two");
  EXPECT_EQ(PeekText(*memory, Peek<uint32_t>(*memory, info + kLoaderName)), "trapline");
  ASSERT_EQ(Peek<uint32_t>(*memory, info + kModsCount), 1u);
  uint32_t entry = Peek<uint32_t>(*memory, info + kModsAddr);
  uint32_t start = Peek<uint32_t>(*memory, entry), end = Peek<uint32_t>(*memory, entry + 4);
  EXPECT_EQ(end - start, 5000u);
  EXPECT_GE(start, 0x102000u) << "behind the image";
  EXPECT_EQ(Peek<uint8_t>(*memory, start), 9);
  EXPECT_EQ(Peek<uint8_t>(*memory, end - 1), 9);
}

TEST(Multiboot, TellsTheMemoryMap) {
  auto memory = TestMemory();
  ImageBytes image = MakeMultiboot();
  auto loaded = LoadImage(*memory, {image, {}, "", 1});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  uint64_t info = loaded->boot_registers.gpr[x86::kRbx], last = 0;
  uint32_t map = Peek<uint32_t>(*memory, info + kMmapAddr);
  uint32_t end = map + Peek<uint32_t>(*memory, info + kMmapLength);
  while (map < end) {
    uint64_t address = Peek<uint64_t>(*memory, map + 4);
    EXPECT_EQ(address, last) << "a small VM has no gaps";
    last = address + Peek<uint64_t>(*memory, map + 12);
    map += Peek<uint32_t>(*memory, map) + 4;
  }
  EXPECT_EQ(last, kTestMemory);
}

TEST(Multiboot, KeepsOutOfTheWayOfALowImage) {
  auto memory = TestMemory();
  ImageBytes image = MakeElf32(0x7f80);  // across where the information would be
  auto loaded = LoadImage(*memory, {image, {}, "low", 1});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  uint64_t info = loaded->boot_registers.gpr[x86::kRbx];
  EXPECT_GE(info, 0x8080u);
  EXPECT_EQ(PeekText(*memory, Peek<uint32_t>(*memory, info + kCmdline)), "low");
  for (uint64_t at = 0x7f80 + 12; at < 0x8080; ++at) {
    ASSERT_EQ(Peek<uint8_t>(*memory, at), 0x5a) << std::hex << at;
  }
}

struct BadField {
  const char* field;
  std::function<void(ImageBytes&)> spoil;
};

TEST(Multiboot, RefusesWhatIsWrongByName) {
  const BadField kCases[] = {
      {"flags", [](ImageBytes& i) { PutMultibootHeader(i, 0, kAddressFields | 0x8); }},
      {"flags", [](ImageBytes& i) { PutMultibootHeader(i, 0, 0); }},
      {"header_addr", [](ImageBytes& i) { i.resize(20); }},
      {"load_addr", [](ImageBytes& i) { Poke<uint32_t>(i, 16, 0x100001); }},
      {"load_addr", [](ImageBytes& i) { Poke<uint32_t>(i, 16, 0); }},
      {"load_addr", [](ImageBytes& i) { Poke<uint32_t>(i, 24, ~0u); }},
      {"load_addr",
       [](ImageBytes& i) {
         Poke<uint32_t>(i, 12, 0x9f000);
         Poke<uint32_t>(i, 16, 0x9f000);
         Poke<uint32_t>(i, 20, 0xa0000);
         Poke<uint32_t>(i, 24, 0);
         Poke<uint32_t>(i, 28, 0x9f100);
       }},
      {"load_end_addr", [](ImageBytes& i) { Poke<uint32_t>(i, 20, 0x101001); }},
      {"load_end_addr", [](ImageBytes& i) { Poke<uint32_t>(i, 20, 0xfffff); }},
      {"bss_end_addr", [](ImageBytes& i) { Poke<uint32_t>(i, 24, 0x100800); }},
      {"entry_addr", [](ImageBytes& i) { Poke<uint32_t>(i, 28, 0xfffff); }},
      {"entry_addr", [](ImageBytes& i) { Poke<uint32_t>(i, 28, 0x102000); }},
  };
  for (const BadField& test : kCases) {
    ImageBytes image = MakeMultiboot();
    test.spoil(image);
    auto loaded = LoadAlone(image);
    ASSERT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument) << test.field;
    EXPECT_THAT(MessageOf(loaded), HasSubstr(test.field));
  }
}

TEST(Multiboot, RefusesASegmentInTheFirmwareArea) {
  EXPECT_THAT(MessageOf(LoadAlone(MakeElf32(0xe0000))), HasSubstr("p_paddr"));
  EXPECT_THAT(MessageOf(LoadAlone(MakeElf32(0x100000 - 0x80))), HasSubstr("p_paddr"));
}

TEST(Multiboot, ABadChecksumOrAHeaderTooFarBackIsNone) {
  ImageBytes image = MakeMultiboot();
  Poke<uint32_t>(image, 8, 0);
  EXPECT_THAT(MessageOf(LoadAlone(image)), StartsWith("kernel:"));
  image = ImageBytes(16384);
  PutMultibootHeader(image, 8192 - 8);
  EXPECT_THAT(MessageOf(LoadAlone(image)), StartsWith("kernel:"));
}

TEST(Multiboot, RefusesAModuleThatDoesNotFit) {
  auto memory = TestMemory();
  ImageBytes image = MakeMultiboot(), module(kTestMemory - 0x101000);
  EXPECT_THAT(MessageOf(LoadImage(*memory, {image, module, "", 1})), StartsWith("initrd:"));
}

}  // namespace
}  // namespace trapline::machine

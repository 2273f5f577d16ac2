// SPDX-License-Identifier: Apache-2.0
// The Linux 64-bit boot protocol, with good kernels and with bad ones.
#include <functional>

#include "core/x86/flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/loader/image_bytes.h"

namespace trapline::machine {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// Offsets in boot_params (Documentation/arch/x86/zero-page.rst).
constexpr uint64_t kAcpiRsdp = 0x070, kE820Count = 0x1e8, kCmdLinePtr = 0x228,
                   kRamdiskImage = 0x218, kRamdiskSize = 0x21c, kTypeOfLoader = 0x210,
                   kE820Table = 0x2d0, kE820Size = 20;

TEST(BzImage, EntersThe64BitEntry) {
  auto memory = TestMemory();
  ImageBytes image = MakeBzImage();
  auto loaded = LoadImage(*memory, {image, {}, "console=ttyS0", 4});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->kind, ImageKind::kBzImage);
  const x86::Registers& r = loaded->boot_registers;
  EXPECT_EQ(r.rip, 0x1000200u);
  EXPECT_EQ(r.segment[x86::kCs].selector, 0x10);
  EXPECT_TRUE(r.segment[x86::kCs].attributes & x86::segment_attribute::kLong);
  for (auto name : {x86::kDs, x86::kEs, x86::kSs}) EXPECT_EQ(r.segment[name].selector, 0x18);
  EXPECT_TRUE(r.cr0 & x86::cr0::kPg);
  EXPECT_TRUE(r.cr4 & x86::cr4::kPae);
  EXPECT_EQ(r.efer & (x86::efer::kLme | x86::efer::kLma), x86::efer::kLme | x86::efer::kLma);
  EXPECT_FALSE(r.rflags & x86::rflags::kIf);
  EXPECT_EQ(Peek<uint8_t>(*memory, r.rip), 0x5a);
}

TEST(BzImage, FillsBootParams) {
  auto memory = TestMemory();
  ImageBytes image = MakeBzImage(), initrd(5000, std::byte{7});
  auto loaded = LoadImage(*memory, {image, initrd, "console=ttyS0", 4});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  uint64_t params = loaded->boot_registers.gpr[x86::kRsi];
  EXPECT_EQ(Peek<uint32_t>(*memory, params + 0x202), 0x53726448u);
  EXPECT_EQ(Peek<uint8_t>(*memory, params + kTypeOfLoader), 0xff);
  EXPECT_EQ(PeekText(*memory, Peek<uint32_t>(*memory, params + kCmdLinePtr)), "console=ttyS0");
  EXPECT_THAT(PeekText(*memory, Peek<uint64_t>(*memory, params + kAcpiRsdp)),
              StartsWith("RSD PTR "));
  uint32_t ramdisk = Peek<uint32_t>(*memory, params + kRamdiskImage);
  EXPECT_EQ(Peek<uint32_t>(*memory, params + kRamdiskSize), 5000u);
  EXPECT_EQ(ramdisk % 4096, 0u);
  EXPECT_GE(ramdisk, 0x1800000u);
  EXPECT_LE(ramdisk + 5000, kTestMemory);
  EXPECT_EQ(Peek<uint8_t>(*memory, ramdisk), 7);
  EXPECT_EQ(Peek<uint8_t>(*memory, ramdisk + 4999), 7);
}

TEST(BzImage, TellsTheMemoryMap) {
  constexpr uint64_t kSize = uint64_t{4} << 30;
  auto memory = TestMemory(kSize);
  ImageBytes image = MakeBzImage();
  auto loaded = LoadImage(*memory, {image, {}, "", 1});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  uint64_t params = loaded->boot_registers.gpr[x86::kRsi], ram = 0, end = 0;
  unsigned count = Peek<uint8_t>(*memory, params + kE820Count);
  for (unsigned i = 0; i < count; ++i) {
    uint64_t entry = params + kE820Table + i * kE820Size;
    uint64_t address = Peek<uint64_t>(*memory, entry), size = Peek<uint64_t>(*memory, entry + 8);
    EXPECT_GE(address, end) << "sorted and disjoint";
    end = address + size;
    if (Peek<uint32_t>(*memory, entry + 16) != 1) continue;
    ram += size;
    EXPECT_NE(memory->Find(address, size), nullptr) << i;
  }
  EXPECT_EQ(end, kHighRamStart + kSize - kLowRamEnd);
  EXPECT_GT(ram, kSize - (1 << 20));
}

TEST(BzImage, PageTablesMapTheFirst4GiBOneToOne) {
  auto memory = TestMemory();
  ImageBytes image = MakeBzImage();
  auto loaded = LoadImage(*memory, {image, {}, "", 1});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  constexpr uint64_t kAddress = 0x000ffffffffff000;
  for (uint64_t linear = 0; linear < uint64_t{4} << 30; linear += 2 << 20) {
    uint64_t pdpt = Peek<uint64_t>(*memory, loaded->boot_registers.cr3) & kAddress;
    uint64_t directory = Peek<uint64_t>(*memory, pdpt + 8 * (linear >> 30)) & kAddress;
    uint64_t entry = Peek<uint64_t>(*memory, directory + 8 * (linear >> 21 & 511));
    ASSERT_EQ(entry, linear | 0x83) << std::hex << linear;
  }
}

struct BadField {
  const char* field;
  std::function<void(ImageBytes&)> spoil;
};

TEST(BzImage, RefusesWhatIsWrongByName) {
  const BadField kCases[] = {
      {"header", [](ImageBytes& i) { i.resize(0x210); }},
      {"boot_flag", [](ImageBytes& i) { Poke<uint16_t>(i, 0x1fe, 0); }},
      {"version", [](ImageBytes& i) { Poke<uint16_t>(i, 0x206, 0x20b); }},
      {"xloadflags", [](ImageBytes& i) { Poke<uint16_t>(i, 0x236, 0); }},
      {"loadflags", [](ImageBytes& i) { Poke<uint8_t>(i, 0x211, 0); }},
      {"setup_sects", [](ImageBytes& i) { Poke<uint8_t>(i, 0x1f1, 255); }},
      {"setup_sects", [](ImageBytes& i) { i.resize(5 * 512); }},
      {"jump", [](ImageBytes& i) { Poke<uint8_t>(i, 0x201, 0xff); }},
      {"jump", [](ImageBytes& i) { Poke<uint8_t>(i, 0x201, 0); }},
      {"syssize", [](ImageBytes& i) { Poke<uint32_t>(i, 0x1f4, ~0u); }},
      {"syssize", [](ImageBytes& i) { i.resize(i.size() - 512); }},
      {"syssize", [](ImageBytes& i) { i.resize(5 * 512 + 1); }},
      {"init_size", [](ImageBytes& i) { Poke<uint32_t>(i, 0x260, 0); }},
      {"init_size", [](ImageBytes& i) { Poke<uint32_t>(i, 0x260, ~0u); }},
      {"pref_address", [](ImageBytes& i) { Poke<uint64_t>(i, 0x258, 0); }},
      {"pref_address", [](ImageBytes& i) { Poke<uint64_t>(i, 0x258, ~uint64_t{0}); }},
      {"payload_length", [](ImageBytes& i) { Poke<uint32_t>(i, 0x24c, ~0u); }},
      {"payload_length", [](ImageBytes& i) { Poke<uint32_t>(i, 0x248, ~0u); }},
  };
  for (const BadField& test : kCases) {
    ImageBytes image = MakeBzImage();
    test.spoil(image);
    auto loaded = LoadAlone(image);
    ASSERT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument) << test.field;
    EXPECT_THAT(MessageOf(loaded), HasSubstr(test.field));
  }
}

TEST(BzImage, RefusesAnyCut) {
  ImageBytes whole = MakeBzImage();
  for (size_t size = 0; size < whole.size() - 16; size += 7) {
    ImageBytes image(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_EQ(LoadAlone(image).status().code(), absl::StatusCode::kInvalidArgument) << size;
  }
}

TEST(BzImage, RefusesAnInitrdThatDoesNotFit) {
  auto memory = TestMemory();
  ImageBytes image = MakeBzImage();
  for (size_t size : {kTestMemory - 0x1800000 + 1, kTestMemory, 2 * kTestMemory}) {
    ImageBytes initrd(size);
    auto loaded = LoadImage(*memory, {image, initrd, "", 1});
    ASSERT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument) << size;
    EXPECT_THAT(MessageOf(loaded), StartsWith("initrd:"));
  }
}

TEST(BzImage, KeepsTheInitrdBelowInitrdAddrMax) {
  auto memory = TestMemory();
  ImageBytes image = MakeBzImage(), initrd(4096);
  Poke<uint32_t>(image, 0x22c, 0x2ffffff);
  auto loaded = LoadImage(*memory, {image, initrd, "", 1});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(Peek<uint32_t>(*memory, loaded->boot_registers.gpr[x86::kRsi] + kRamdiskImage),
            0x2fff000u);
}

TEST(BzImage, RefusesACommandLineThatIsTooLong) {
  auto memory = TestMemory();
  ImageBytes image = MakeBzImage();
  Poke<uint32_t>(image, 0x238, 10);
  EXPECT_TRUE(LoadImage(*memory, {image, {}, "0123456789", 1}).ok());
  auto loaded = LoadImage(*memory, {image, {}, "0123456789a", 1});
  EXPECT_THAT(MessageOf(loaded), StartsWith("command line:"));
  loaded = LoadImage(*memory, {image, {}, std::string(4096, 'x'), 1});
  EXPECT_THAT(MessageOf(loaded), StartsWith("command line:"));
  loaded = LoadImage(*memory, {image, {}, std::string("a\0b", 3), 1});
  EXPECT_THAT(MessageOf(loaded), StartsWith("command line:"));
}

TEST(Image, RefusesWhatIsNoImage) {
  EXPECT_EQ(LoadAlone({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(LoadAlone(ImageBytes(100000, std::byte{0x20})).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace trapline::machine

// SPDX-License-Identifier: Apache-2.0
// kallsyms as scripts/kallsyms.c of Linux 6.1 writes it is found in memory; what is damaged is not.
// That Debian's own is found is for tests/boot to show.
#include "core/vm/kernel_symbols.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace trapline::vm {
namespace {

using machine::GuestMemory;

constexpr uint64_t kBase = 0xffffffff81000000, kMemory = 8 << 20;
constexpr uint32_t kCount = 600;

// The tables, and where each begins.
class Kallsyms {
 public:
  Kallsyms() {
    for (uint32_t i = 0; i < kCount; ++i) Put<int32_t>(-1 - static_cast<int32_t>(16 * i));
    Align();
    relative_base = bytes.size();
    Put<uint64_t>(kBase);
    count = bytes.size();
    Put<uint64_t>(kCount);
    names = bytes.size();
    std::vector<uint32_t> starts;
    for (uint32_t i = 0; i < kCount; ++i) {
      if (i % 256 == 0) starts.push_back(static_cast<uint32_t>(bytes.size() - names));
      PutName(i == 0 ? "T_stext" : (i % 3 ? "tfunction_" : "dvariable_") + std::to_string(i));
    }
    Align();
    markers = bytes.size();
    for (uint32_t start : starts) Put<uint32_t>(start);
    Align();
    tokens = bytes.size();
    std::vector<uint16_t> index;
    for (int i = 0; i < 256; ++i) {
      index.push_back(static_cast<uint16_t>(bytes.size() - tokens));
      std::string token = i >= '0' && i <= 'z' ? std::string(1, static_cast<char>(i)) : "unused";
      for (char c : token) Put<char>(c);
      Put<char>(0);
    }
    Align();
    token_index = bytes.size();
    for (uint16_t start : index) Put<uint16_t>(start);
  }

  // What is found with the tables at that address.
  std::vector<machine::Symbol> Find(uint64_t gpa = 0x100040) const {
    auto memory = GuestMemory::Create(kMemory);
    EXPECT_TRUE(memory.ok());
    EXPECT_TRUE((*memory)->Write(gpa, bytes).ok());
    return FindKernelSymbols(**memory);
  }
  template <typename T>
  void Set(uint64_t offset, T value) {
    std::memcpy(bytes.data() + offset, &value, sizeof value);
  }

  std::vector<std::byte> bytes;
  uint64_t relative_base = 0, count = 0, names = 0, markers = 0, tokens = 0, token_index = 0;

 private:
  template <typename T>
  void Put(T value) {
    bytes.resize(bytes.size() + sizeof value);
    Set(bytes.size() - sizeof value, value);
  }
  void PutName(const std::string& name) {
    Put<uint8_t>(static_cast<uint8_t>(name.size()));
    for (char c : name) Put<char>(c);
  }
  void Align() { bytes.resize((bytes.size() + 7) & ~size_t{7}); }
};

TEST(KernelSymbols, AreFoundWithTheirAddresses) {
  auto symbols = Kallsyms().Find();
  ASSERT_EQ(symbols.size(), 1u + 400u) << "functions alone";
  EXPECT_EQ(symbols[0].name, "_stext");
  EXPECT_EQ(symbols[0].address, kBase);
  EXPECT_EQ(symbols[1].name, "function_1");
  EXPECT_EQ(symbols[1].address, kBase + 16);
}

TEST(KernelSymbols, AreFoundAcrossTheWholeOfMemory) {
  Kallsyms kallsyms;
  for (uint64_t gpa : {uint64_t{8}, kMemory / 2 - 8, kMemory - kallsyms.bytes.size()})
    EXPECT_FALSE(kallsyms.Find(gpa & ~uint64_t{7}).empty()) << gpa;
}

TEST(KernelSymbols, AreFoundBehindSomethingThatLooksAlike) {
  Kallsyms good, bad;
  bad.Set<uint16_t>(bad.token_index + 2 * 'a', 1);
  auto memory = GuestMemory::Create(kMemory);
  ASSERT_TRUE(memory.ok());
  ASSERT_TRUE((*memory)->Write(0x10000, bad.bytes).ok());
  ASSERT_TRUE((*memory)->Write(0x200000, good.bytes).ok());
  EXPECT_FALSE(FindKernelSymbols(**memory).empty());
}

TEST(KernelSymbols, AnEmptyMemoryHasNone) {
  auto memory = GuestMemory::Create(kMemory);
  ASSERT_TRUE(memory.ok());
  EXPECT_TRUE(FindKernelSymbols(**memory).empty());
}

TEST(KernelSymbols, ATableThatContradictsItselfIsNone) {
  struct Damage {
    const char* name;
    void (*apply)(Kallsyms&);
  };
  const Damage damages[] = {
      {"base in user space", [](Kallsyms& k) { k.Set<uint64_t>(k.relative_base, 0x400000); }},
      {"too many", [](Kallsyms& k) { k.Set<uint64_t>(k.count, ~uint64_t{0}); }},
      {"more than there are", [](Kallsyms& k) { k.Set<uint64_t>(k.count, kCount + 300); }},
      {"more than lie before", [](Kallsyms& k) { k.Set<uint64_t>(k.count, 1 << 20); }},
      {"too few", [](Kallsyms& k) { k.Set<uint64_t>(k.count, 3); }},
      {"a marker", [](Kallsyms& k) { k.Set<uint32_t>(k.markers + 4, 7); }},
      {"an endless name", [](Kallsyms& k) { k.Set<uint16_t>(k.names, 0xffff); }},
      {"an empty name", [](Kallsyms& k) { k.Set<uint8_t>(k.names, 0); }},
      {"an empty token", [](Kallsyms& k) { k.Set<uint8_t>(k.tokens, 0); }},
      {"the index", [](Kallsyms& k) { k.Set<uint16_t>(k.token_index + 100, 0xffff); }},
      {"no _stext", [](Kallsyms& k) { k.Set<char>(k.names + 2, 'x'); }},
  };
  for (const Damage& damage : damages) {
    Kallsyms kallsyms;
    damage.apply(kallsyms);
    EXPECT_TRUE(kallsyms.Find().empty()) << damage.name;
  }
}

TEST(KernelSymbols, ATableThatIsCutShortAnywhereIsNone) {
  Kallsyms whole;
  for (size_t length = 0; length < whole.bytes.size() - 1; length += 97) {
    Kallsyms cut;
    cut.bytes.resize(length);
    EXPECT_TRUE(cut.Find(kMemory - length).empty()) << length;
  }
}

TEST(KernelSymbols, PerCpuOnesAreLeftOut) {
  Kallsyms kallsyms;
  kallsyms.Set<int32_t>(4, 0x1234);
  auto symbols = kallsyms.Find();
  ASSERT_EQ(symbols.size(), 1u + 399u);
  EXPECT_EQ(symbols[1].name, "function_2");
}

}  // namespace
}  // namespace trapline::vm

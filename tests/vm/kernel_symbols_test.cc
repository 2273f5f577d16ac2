// SPDX-License-Identifier: Apache-2.0
// kallsyms as scripts/kallsyms.c of several Linux versions writes it is found in memory; what is
// damaged is not. That Debian's own is found is for tests/boot to show.
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

// How one version lays its tables out.
struct Layout {
  const char* version;
  bool offsets_last;          // behind the tokens, with the order of names at the very end
  size_t order_entry;         // bytes of an entry of the order of names before the tokens; 0: none
  size_t marker;              // bytes of a marker
  bool negative;              // offsets count from -1 downwards
  bool relative_base = true;  // there is one
};
void PrintTo(const Layout& layout, std::ostream* out) { *out << layout.version; }

const Layout kLayouts[] = {
    {"4.6", false, 0, 8, true},
    {"6.1", false, 0, 4, true},
    {"6.1, one processor", false, 0, 4, false},
    {"6.2-rc1", false, 4, 4, true},
    {"6.3", false, 3, 4, true},
    {"6.4", true, 0, 4, true},
    {"6.15", true, 0, 4, false},
};
const Layout& k61 = kLayouts[1];
const Layout& k64 = kLayouts[5];

// The tables, and where each begins.
class Kallsyms {
 public:
  explicit Kallsyms(const Layout& layout = k61) : layout_(layout) {
    if (!layout.offsets_last) PutOffsets();
    count = bytes.size();
    Put<uint64_t>(kCount);
    names = bytes.size();
    std::vector<uint32_t> starts;
    for (uint32_t i = 0; i < kCount; ++i) {
      if (i % 256 == 0) starts.push_back(static_cast<uint32_t>(bytes.size() - names));
      PutName(NameOf(i));
    }
    Align();
    markers = bytes.size();
    for (uint32_t start : starts) PutBytes(&start, layout.marker);
    Align();
    PutOrder(layout.offsets_last ? 0 : layout.order_entry);
    PutTokens();
    if (layout.offsets_last) {
      PutOffsets();
      PutOrder(3);
    }
  }

  // What is found with the tables at that address.
  std::optional<KernelTable> Find(uint64_t gpa = 0x100040) const {
    auto memory = GuestMemory::Create(kMemory);
    EXPECT_TRUE(memory.ok());
    EXPECT_TRUE((*memory)->Write(gpa, bytes).ok());
    return FindKernelSymbols(**memory, [](const KernelTable&) { return true; });
  }
  template <typename T>
  void Set(uint64_t offset, T value) {
    std::memcpy(bytes.data() + offset, &value, sizeof value);
  }

  std::vector<std::byte> bytes;
  uint64_t offsets = 0, relative_base = 0, count = 0, names = 0, markers = 0, tokens = 0,
           token_index = 0;

 private:
  static std::string NameOf(uint32_t i) {
    if (i == 0) return "T_stext";
    if (i == kCount - 1) return "T_etext";
    return (i % 3 ? "tfunction_" : "dvariable_") + std::to_string(i);
  }
  void PutOffsets() {
    offsets = bytes.size();
    for (uint32_t i = 0; i < kCount; ++i) {
      auto above = static_cast<int32_t>(16 * i);
      Put<int32_t>(layout_.negative ? -1 - above : above);
    }
    Align();
    relative_base = bytes.size();
    if (layout_.relative_base) Put<uint64_t>(kBase);
  }
  void PutOrder(size_t entry) {
    for (uint32_t i = 0; i < kCount; ++i) PutBytes(&i, entry);
    Align();
  }
  void PutTokens() {
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
    Align();
  }
  template <typename T>
  void Put(T value) {
    PutBytes(&value, sizeof value);
  }
  // The low bytes of a value; what is more of them is zero.
  template <typename T>
  void PutBytes(const T* value, size_t size) {
    size_t at = bytes.size();
    bytes.resize(at + size);
    std::memcpy(bytes.data() + at, value, std::min(size, sizeof *value));
  }
  void PutName(const std::string& name) {
    Put<uint8_t>(static_cast<uint8_t>(name.size()));
    for (char c : name) Put<char>(c);
  }
  void Align() { bytes.resize((bytes.size() + 7) & ~size_t{7}); }

  const Layout layout_;
};

class EachLayout : public ::testing::TestWithParam<Layout> {};

TEST_P(EachLayout, IsReadWithItsAddresses) {
  auto table = Kallsyms(GetParam()).Find();
  ASSERT_TRUE(table);
  auto code = table->Code(0);
  ASSERT_EQ(code.size(), 1u + 399u) << "functions alone, and _etext is the end of them";
  EXPECT_EQ(code[0].name, "_stext");
  EXPECT_EQ(code[0].address, kBase);
  EXPECT_EQ(code[1].name, "function_1");
  EXPECT_EQ(code[1].address, kBase + 16);
  EXPECT_EQ(code[2].name, "function_2");
  EXPECT_EQ(code[2].size, 16u) << "to the variable behind it";
}

TEST_P(EachLayout, WithItsAddressesInDisorderIsNone) {
  Kallsyms kallsyms(GetParam());
  int32_t away = GetParam().negative ? -1 - 16 * 500 : 16 * 500;
  kallsyms.Set(kallsyms.offsets + 4 * 100, away);
  EXPECT_FALSE(kallsyms.Find());
}

TEST_P(EachLayout, WithoutItsFirstAddressForABaseIsNone) {
  Kallsyms kallsyms(GetParam());
  kallsyms.Set<uint64_t>(kallsyms.relative_base, kBase - 16);
  EXPECT_TRUE(kallsyms.Find()) << "moved as a whole by its kernel";
  kallsyms.Set<int32_t>(kallsyms.offsets, GetParam().negative ? -2 : 1);
  EXPECT_FALSE(kallsyms.Find());
}

TEST_P(EachLayout, CutShortAnywhereIsNone) {
  const Kallsyms whole(GetParam());
  uint64_t needed = std::max(whole.relative_base + 8, whole.token_index + 512);
  for (size_t length = 0; length < needed; length += 97) {
    Kallsyms cut(GetParam());
    cut.bytes.resize(length);
    EXPECT_FALSE(cut.Find((kMemory - length) & ~uint64_t{7})) << length;
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, EachLayout, ::testing::ValuesIn(kLayouts));

TEST(KernelSymbols, AreFoundAcrossTheWholeOfMemory) {
  Kallsyms kallsyms;
  for (uint64_t gpa : {uint64_t{8}, kMemory / 2 - 8, kMemory - kallsyms.bytes.size()})
    EXPECT_TRUE(kallsyms.Find(gpa & ~uint64_t{7})) << gpa;
}

TEST(KernelSymbols, AreFoundBehindSomethingThatLooksAlike) {
  Kallsyms good, bad;
  bad.Set<uint16_t>(bad.token_index + 2 * 'a', 1);
  auto memory = GuestMemory::Create(kMemory);
  ASSERT_TRUE(memory.ok());
  ASSERT_TRUE((*memory)->Write(0x10000, bad.bytes).ok());
  ASSERT_TRUE((*memory)->Write(0x200000, good.bytes).ok());
  EXPECT_TRUE(FindKernelSymbols(**memory, [](const KernelTable&) { return true; }));
}

TEST(KernelSymbols, OfAnotherKernelArePassed) {
  Kallsyms mine, other(k64);
  other.Set<uint64_t>(other.relative_base, kBase + (2 << 20));
  auto memory = GuestMemory::Create(kMemory);
  ASSERT_TRUE(memory.ok());
  ASSERT_TRUE((*memory)->Write(0x10000, other.bytes).ok());
  ASSERT_TRUE((*memory)->Write(0x200000, mine.bytes).ok());
  int seen = 0;
  auto table = FindKernelSymbols(**memory, [&](const KernelTable& table) {
    ++seen;
    return table.symbols()[0].address == kBase;
  });
  EXPECT_TRUE(table);
  EXPECT_EQ(seen, 2);
}

TEST(KernelSymbols, AnEmptyMemoryHasNone) {
  auto memory = GuestMemory::Create(kMemory);
  ASSERT_TRUE(memory.ok());
  EXPECT_FALSE(FindKernelSymbols(**memory, [](const KernelTable&) { return true; }));
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
      {"one less than there are", [](Kallsyms& k) { k.Set<uint64_t>(k.count, kCount - 1); }},
      {"more than lie before", [](Kallsyms& k) { k.Set<uint64_t>(k.count, 1 << 20); }},
      {"too few", [](Kallsyms& k) { k.Set<uint64_t>(k.count, 3); }},
      {"a marker", [](Kallsyms& k) { k.Set<uint32_t>(k.markers + 4, 7); }},
      {"an endless name", [](Kallsyms& k) { k.Set<uint16_t>(k.names, 0xffff); }},
      {"an empty name", [](Kallsyms& k) { k.Set<uint8_t>(k.names, 0); }},
      {"an empty token", [](Kallsyms& k) { k.Set<uint8_t>(k.tokens, 0); }},
      {"the index", [](Kallsyms& k) { k.Set<uint16_t>(k.token_index + 100, 0xffff); }},
      {"no _stext", [](Kallsyms& k) { k.Set<char>(k.names + 2, 'x'); }},
  };
  for (const Layout& layout : {k61, k64}) {
    for (const Damage& damage : damages) {
      Kallsyms kallsyms(layout);
      damage.apply(kallsyms);
      EXPECT_FALSE(kallsyms.Find()) << layout.version << ": " << damage.name;
    }
  }
}

// Kernels whose offsets are distances from themselves have no base, and nothing tells where they
// are.
TEST(KernelSymbols, WithoutABaseAreNotRead) {
  Layout layout = k64;
  layout.relative_base = false;
  EXPECT_FALSE(Kallsyms(layout).Find());
}

TEST(KernelSymbols, ThatCanBeReadInTwoWaysAreNotRead) {
  Kallsyms both;
  Kallsyms behind(k64);
  auto offsets = std::span(behind.bytes).subspan(behind.offsets, 4 * kCount + 16);
  both.bytes.resize(both.token_index + 512);
  both.bytes.insert(both.bytes.end(), offsets.begin(), offsets.end());
  EXPECT_FALSE(both.Find());
}

TEST(KernelSymbols, PerCpuOnesAreLeftOut) {
  Kallsyms kallsyms;
  kallsyms.Set<int32_t>(4, 0x1234);
  auto table = kallsyms.Find();
  ASSERT_TRUE(table);
  auto code = table->Code(0);
  ASSERT_EQ(code.size(), 1u + 398u);
  EXPECT_EQ(code[1].name, "function_2");
}

}  // namespace
}  // namespace trapline::vm

// SPDX-License-Identifier: Apache-2.0
// The ACPI tables hang together: pointers, lengths, checksums, one local APIC for each vCPU.
#include <cstring>
#include <string>

#include "core/machine/acpi/tables.h"
#include "core/machine/platform/layout.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trapline::machine {
namespace {

constexpr uint64_t kBase = 0xe0000;

class Tables {
 public:
  explicit Tables(uint32_t vcpus) : tables_(BuildAcpiTables(vcpus, kBase)) {}

  uint64_t rsdp() const { return tables_.rsdp; }
  uint64_t end() const { return kBase + tables_.bytes.size(); }
  template <typename T>
  T At(uint64_t address) const {
    T value{};
    bool inside = address >= kBase && address + sizeof value <= end();
    EXPECT_TRUE(inside) << std::hex << address;
    if (inside) std::memcpy(&value, tables_.bytes.data() + (address - kBase), sizeof value);
    return value;
  }
  std::string Text(uint64_t address, size_t length) const {
    std::string text;
    for (size_t i = 0; i < length; ++i) text += At<char>(address + i);
    return text;
  }
  uint8_t Sum(uint64_t address, uint64_t length) const {
    uint8_t sum = 0;
    for (uint64_t i = 0; i < length; ++i) {
      sum = static_cast<uint8_t>(sum + At<uint8_t>(address + i));
    }
    return sum;
  }
  uint64_t Xsdt() const { return At<uint64_t>(rsdp() + 24); }
  // The table with this signature, by the XSDT; zero if there is none.
  uint64_t Find(const std::string& signature) const {
    uint32_t length = At<uint32_t>(Xsdt() + 4);
    for (uint64_t at = Xsdt() + 36; at < Xsdt() + length; at += 8) {
      if (Text(At<uint64_t>(at), 4) == signature) return At<uint64_t>(at);
    }
    return 0;
  }
  void ExpectSealed(uint64_t table, const std::string& signature) const {
    EXPECT_EQ(Text(table, 4), signature);
    EXPECT_EQ(Sum(table, At<uint32_t>(table + 4)), 0) << signature;
  }

 private:
  AcpiTables tables_;
};

TEST(Acpi, RootPointersAreSealed) {
  Tables tables(4);
  EXPECT_EQ(tables.rsdp() % 16, 0u);
  EXPECT_EQ(tables.Text(tables.rsdp(), 8), "RSD PTR ");
  EXPECT_EQ(tables.Sum(tables.rsdp(), 20), 0);
  EXPECT_EQ(tables.Sum(tables.rsdp(), 36), 0);
  tables.ExpectSealed(tables.Xsdt(), "XSDT");
}

TEST(Acpi, FadtDescribesTheBoard) {
  Tables tables(1);
  uint64_t fadt = tables.Find("FACP");
  ASSERT_NE(fadt, 0u);
  tables.ExpectSealed(fadt, "FACP");
  EXPECT_EQ(tables.At<uint32_t>(fadt + 4), 276u) << "the length of revision 6";
  EXPECT_EQ(tables.At<uint16_t>(fadt + 46), layout::kSciLine);
  EXPECT_EQ(tables.At<uint32_t>(fadt + 56), layout::kPm1Event);
  EXPECT_EQ(tables.At<uint32_t>(fadt + 64), layout::kPm1Control);
  EXPECT_EQ(tables.At<uint32_t>(fadt + 76), layout::kPmTimer);
  uint32_t flags = tables.At<uint32_t>(fadt + 112);
  EXPECT_FALSE(flags & 1 << 4) << "the power button is fixed hardware";
  EXPECT_TRUE(flags & 1 << 10) << "there is a reset register";
  EXPECT_FALSE(flags & 1 << 20) << "not hardware-reduced";
  EXPECT_EQ(tables.At<uint64_t>(fadt + 120), layout::kResetControl);
  EXPECT_EQ(tables.At<uint8_t>(fadt + 128), layout::kResetValue);
  EXPECT_EQ(tables.Text(tables.At<uint32_t>(fadt + 36), 4), "FACS");
  EXPECT_EQ(tables.At<uint32_t>(fadt + 36) % 64, 0u);
  tables.ExpectSealed(tables.At<uint64_t>(fadt + 140), "DSDT");
}

TEST(Acpi, MadtHasALocalApicForEachVcpu) {
  for (uint32_t vcpus : {1u, 4u, 64u}) {
    Tables tables(vcpus);
    uint64_t madt = tables.Find("APIC");
    ASSERT_NE(madt, 0u);
    tables.ExpectSealed(madt, "APIC");
    EXPECT_EQ(tables.At<uint32_t>(madt + 36), layout::kLocalApicBase);
    uint32_t local = 0, io = 0;
    uint64_t end = madt + tables.At<uint32_t>(madt + 4);
    for (uint64_t at = madt + 44; at < end; at += tables.At<uint8_t>(at + 1)) {
      ASSERT_GE(tables.At<uint8_t>(at + 1), 2) << "an entry has a length";
      uint8_t type = tables.At<uint8_t>(at);
      if (type == 0) {
        EXPECT_EQ(tables.At<uint8_t>(at + 3), local);
        EXPECT_EQ(tables.At<uint32_t>(at + 4), 1u) << "enabled";
        ++local;
      } else if (type == 1) {
        EXPECT_EQ(tables.At<uint32_t>(at + 4), layout::kIoApicBase);
        ++io;
      } else if (type == 2 && tables.At<uint8_t>(at + 3) == layout::kTimerLine) {
        EXPECT_EQ(tables.At<uint32_t>(at + 4), layout::kTimerIoApicPin);
      }
    }
    EXPECT_EQ(local, vcpus);
    EXPECT_EQ(io, 1u);
  }
}

TEST(Acpi, LieInTheirAreaForTheMostVcpus) { EXPECT_LE(Tables(64).end(), 0x100000u); }

}  // namespace
}  // namespace trapline::machine

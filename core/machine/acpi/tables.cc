// SPDX-License-Identifier: Apache-2.0
// Lays the tables out one behind the other and sums them up.
#include "core/machine/acpi/tables.h"

#include <cstring>
#include <string_view>

#include "core/machine/acpi/aml.h"
#include "core/machine/platform/layout.h"

namespace trapline::machine {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr size_t kChecksumOffset = 9, kLengthOffset = 4;

void PutText(Bytes& out, std::string_view text) {
  for (char c : text) Put<uint8_t>(out, static_cast<uint8_t>(c));
}

Bytes Header(std::string_view signature, uint8_t revision) {
  Bytes out;
  PutText(out, signature);
  Put<uint32_t>(out, 0);  // length, filled in by Seal
  Put<uint8_t>(out, revision);
  Put<uint8_t>(out, 0);  // checksum
  PutText(out, "TRAPLN");
  PutText(out, "TRAPLINE");
  Put<uint32_t>(out, 1);
  PutText(out, "TRPL");
  Put<uint32_t>(out, 1);
  return out;
}

uint8_t Sum(const std::byte* bytes, size_t size) {
  uint8_t sum = 0;
  for (size_t i = 0; i < size; ++i)
    sum = static_cast<uint8_t>(sum + std::to_integer<uint8_t>(bytes[i]));
  return sum;
}

void Seal(Bytes& table) {
  auto length = static_cast<uint32_t>(table.size());
  std::memcpy(table.data() + kLengthOffset, &length, sizeof length);
  table[kChecksumOffset] = std::byte(-Sum(table.data(), table.size()) & 0xff);
}

// A register in port space (ACPI 6.4, table 5.1).
void PutPort(Bytes& out, uint16_t port, uint8_t bits) {
  Put<uint8_t>(out, 1);  // system I/O
  Put<uint8_t>(out, bits);
  Put<uint8_t>(out, 0);
  Put<uint8_t>(out, bits == 8 ? 1 : bits == 16 ? 2 : 3);
  Put<uint64_t>(out, port);
}
void PutNoRegister(Bytes& out) { out.resize(out.size() + 12); }

Bytes Facs() {
  Bytes out;
  PutText(out, "FACS");
  Put<uint32_t>(out, 64);
  out.resize(64);
  out[32] = std::byte{2};
  return out;
}

// Legacy devices, no 8042, no VGA, no CMOS clock missing.
constexpr uint16_t kBootLegacyDevices = 1, kBootNoVga = 1 << 2;
constexpr uint32_t kWbinvd = 1, kProcC1 = 1 << 2, kSleepButtonAbsent = 1 << 5, kTimer32 = 1 << 8,
                   kResetRegister = 1 << 10;

Bytes Fadt(uint64_t facs, uint64_t dsdt) {
  using namespace layout;
  Bytes out = Header("FACP", 6);
  Put<uint32_t>(out, static_cast<uint32_t>(facs));
  Put<uint32_t>(out, static_cast<uint32_t>(dsdt));
  Put<uint8_t>(out, 0);
  Put<uint8_t>(out, 4);  // preferred profile: enterprise server
  Put<uint16_t>(out, kSciLine);
  Put<uint32_t>(out, 0);  // no SMI command port: ACPI mode is on from the start
  out.resize(out.size() + 4);
  Put<uint32_t>(out, kPm1Event);
  Put<uint32_t>(out, 0);
  Put<uint32_t>(out, kPm1Control);
  Put<uint32_t>(out, 0);
  Put<uint32_t>(out, 0);
  Put<uint32_t>(out, kPmTimer);
  Put<uint32_t>(out, 0);
  Put<uint32_t>(out, 0);
  Put<uint8_t>(out, 4);  // PM1 event length
  Put<uint8_t>(out, 2);  // PM1 control length
  Put<uint8_t>(out, 0);
  Put<uint8_t>(out, 4);        // timer length
  out.resize(out.size() + 4);  // no GPEs, no C states
  Put<uint16_t>(out, 0xffff);  // P_LVL2_LAT: not supported
  Put<uint16_t>(out, 0xffff);
  out.resize(out.size() + 4 + 2);  // flush, duty
  Put<uint8_t>(out, 0);
  Put<uint8_t>(out, 0);
  Put<uint8_t>(out, 0x32);  // century in CMOS
  Put<uint16_t>(out, kBootLegacyDevices | kBootNoVga);
  Put<uint8_t>(out, 0);
  Put<uint32_t>(out, kWbinvd | kProcC1 | kSleepButtonAbsent | kTimer32 | kResetRegister);
  PutPort(out, kResetControl, 8);
  Put<uint8_t>(out, kResetValue);
  Put<uint16_t>(out, 0);
  Put<uint8_t>(out, 4);   // minor version
  Put<uint64_t>(out, 0);  // X_FACS: the 32-bit one counts
  Put<uint64_t>(out, dsdt);
  PutPort(out, kPm1Event, 32);
  PutNoRegister(out);
  PutPort(out, kPm1Control, 16);
  PutNoRegister(out);
  PutNoRegister(out);
  PutPort(out, kPmTimer, 32);
  PutNoRegister(out);
  PutNoRegister(out);
  PutNoRegister(out);
  PutNoRegister(out);
  PutText(out, "Trapline");
  Seal(out);
  return out;
}

Bytes Madt(uint32_t vcpus) {
  using namespace layout;
  Bytes out = Header("APIC", 5);
  Put<uint32_t>(out, static_cast<uint32_t>(kLocalApicBase));
  Put<uint32_t>(out, 1);  // a pair of 8259s as well
  for (uint32_t i = 0; i < vcpus; ++i) {
    Put<uint8_t>(out, 0);  // processor local APIC
    Put<uint8_t>(out, 8);
    Put<uint8_t>(out, static_cast<uint8_t>(i));
    Put<uint8_t>(out, static_cast<uint8_t>(i));
    Put<uint32_t>(out, 1);
  }
  Put<uint8_t>(out, 1);  // I/O APIC
  Put<uint8_t>(out, 12);
  Put<uint8_t>(out, 0);
  Put<uint8_t>(out, 0);
  Put<uint32_t>(out, static_cast<uint32_t>(kIoApicBase));
  Put<uint32_t>(out, 0);
  auto override = [&](uint8_t line, uint32_t pin, uint16_t flags) {
    Put<uint8_t>(out, 2);
    Put<uint8_t>(out, 10);
    Put<uint8_t>(out, 0);
    Put<uint8_t>(out, line);
    Put<uint32_t>(out, pin);
    Put<uint16_t>(out, flags);
  };
  override(kTimerLine, kTimerIoApicPin, 0);
  override(kSciLine, kSciLine, 0xd);  // active high, level
  Put<uint8_t>(out, 4);               // NMI on LINT1 of every processor
  Put<uint8_t>(out, 6);
  Put<uint8_t>(out, 0xff);
  Put<uint16_t>(out, 0);
  Put<uint8_t>(out, 1);
  Seal(out);
  return out;
}

Bytes Dsdt() {
  Bytes out = Header("DSDT", 2);
  Append(out, aml::Name("_S5_", aml::Package({layout::kS5SleepType, 0, 0, 0})));
  Bytes device;
  Append(device, aml::Name("_HID", aml::EisaId("PNP0501")));
  Append(device, aml::Name("_UID", aml::Integer(1)));
  Append(device, aml::Name("_STA", aml::Integer(0xf)));
  Append(device,
         aml::Name("_CRS", aml::PortAndLine(layout::kCom1, layout::kUartPorts, layout::kCom1Line)));
  Append(out, aml::Scope("_SB_", aml::Device("COM1", device)));
  Seal(out);
  return out;
}

Bytes Xsdt(std::initializer_list<uint64_t> tables) {
  Bytes out = Header("XSDT", 1);
  for (uint64_t table : tables) Put<uint64_t>(out, table);
  Seal(out);
  return out;
}

Bytes Rsdp(uint64_t xsdt) {
  constexpr size_t kOldSize = 20, kSize = 36, kExtendedChecksum = 32;
  Bytes out;
  PutText(out, "RSD PTR ");
  Put<uint8_t>(out, 0);
  PutText(out, "TRAPLN");
  Put<uint8_t>(out, 2);
  Put<uint32_t>(out, 0);
  Put<uint32_t>(out, kSize);
  Put<uint64_t>(out, xsdt);
  Put<uint32_t>(out, 0);
  out[8] = std::byte(-Sum(out.data(), kOldSize) & 0xff);
  out[kExtendedChecksum] = std::byte(-Sum(out.data(), kSize) & 0xff);
  return out;
}

}  // namespace

AcpiTables BuildAcpiTables(uint32_t vcpus, uint64_t base) {
  AcpiTables result;
  auto place = [&](const Bytes& table) {
    result.bytes.resize((result.bytes.size() + kAlignment - 1) / kAlignment * kAlignment);
    uint64_t address = base + result.bytes.size();
    Append(result.bytes, table);
    return address;
  };
  // The root pointer comes first: firmware leaves it on a paragraph below 1 MiB, where searchers
  // look.
  constexpr size_t kRsdpRoom = 64;
  result.bytes.resize(kRsdpRoom);
  uint64_t facs = place(Facs());
  uint64_t dsdt = place(Dsdt());
  uint64_t fadt = place(Fadt(facs, dsdt));
  uint64_t madt = place(Madt(vcpus));
  Bytes rsdp = Rsdp(place(Xsdt({fadt, madt})));
  std::memcpy(result.bytes.data(), rsdp.data(), rsdp.size());
  result.rsdp = base;
  return result;
}

}  // namespace trapline::machine

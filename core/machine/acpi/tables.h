// SPDX-License-Identifier: Apache-2.0
// The ACPI tables of the board (ACPI 6.4, chapter 5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace trapline::machine {

struct AcpiTables {
  std::vector<std::byte> bytes;  // to be put at the address they were built for
  uint64_t rsdp;                 // guest-physical address of the root pointer
};

// RSDP, XSDT, FADT, FACS, MADT and DSDT for that many vCPUs, in one piece at base (16-byte
// aligned).
AcpiTables BuildAcpiTables(uint32_t vcpus, uint64_t base);

}  // namespace trapline::machine

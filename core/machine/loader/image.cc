// SPDX-License-Identifier: Apache-2.0
// Tells the formats apart and prepares what they share.
#include "core/machine/loader/image.h"

#include "core/machine/acpi/tables.h"
#include "core/machine/loader/boot_layout.h"
#include "core/machine/loader/formats.h"

namespace trapline::machine {

absl::StatusOr<LoadedImage> LoadImage(GuestMemory& memory, const ImageSpec& spec) {
  if (memory.size() < 2 * kHighMemory)
    return absl::InvalidArgumentError("memory: too small to boot anything");
  if (auto status = CheckCommandLine(spec.command_line); !status.ok()) return status;
  AcpiTables tables = BuildAcpiTables(spec.vcpus, kAcpiTables);
  if (auto status = memory.Write(kAcpiTables, tables.bytes); !status.ok()) return status;

  if (IsBzImage(spec.kernel)) return LoadBzImage(memory, spec, tables.rsdp);
  if (auto offset = FindMultiboot(spec.kernel)) return LoadMultiboot(memory, spec, *offset);
  if (IsElf(spec.kernel)) return LoadElf64(memory, spec);
  return absl::InvalidArgumentError(
      "kernel: neither a bzImage, nor an ELF file, nor a Multiboot image");
}

}  // namespace trapline::machine

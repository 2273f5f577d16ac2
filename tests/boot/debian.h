// SPDX-License-Identifier: Apache-2.0
// Debian's kernel and an initramfs that ends in a shell, as a VM.
#pragma once

#include <string>

#include "core/vm/vm.h"

namespace trapline::vm {

inline VmConfig DebianConfig(uint32_t vcpus, const std::string& more = "") {
  VmConfig config;
  config.name = "debian";
  config.vcpus = vcpus;
  config.memory_bytes = uint64_t{512} << 20;
  config.kernel_path = TRAPLINE_DEBIAN_GUEST "/vmlinuz";
  config.initrd_path = TRAPLINE_DEBIAN_GUEST "/initramfs.cpio.gz";
  config.command_line = "console=ttyS0 " + more;
  return config;
}

}  // namespace trapline::vm

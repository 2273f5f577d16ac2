// SPDX-License-Identifier: Apache-2.0
// What a process has of memory and descriptors.
#pragma once

#include <sys/types.h>

#include <cstddef>

namespace trapline {

struct Use {
  size_t memory_kib = 0;  // its own; the rest of what is resident of a daemon are the VMs' files
  size_t descriptors = 0, threads = 0;
};

Use UseOf(pid_t pid);

}  // namespace trapline

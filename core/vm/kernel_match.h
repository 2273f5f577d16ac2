// SPDX-License-Identifier: Apache-2.0
// Whether a file's symbols are those of the kernel that runs in the guest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "core/vm/symbol_file.h"

namespace trapline::vm {

// Reads the guest's kernel at linear addresses of its image; false: there is no such memory.
using KernelReader = std::function<bool(uint64_t linear, std::span<std::byte> bytes)>;

// All return OK only where guest and file are one build beyond doubt; slide: how much higher the
// guest's kernel runs. FAILED_PRECONDITION: what differs. UNAVAILABLE: this cannot tell.

// The build ID of a vmlinux, which the kernel has in memory too.
absl::Status MatchBuildId(const SymbolFile& file, uint64_t slide, const KernelReader& read);

// The kernel's own table of what it exports to modules: hundreds of functions all over its text,
// each with its address and name, every one of which has to be where the file says.
absl::Status MatchExports(const KernelTable& file, uint64_t slide, const KernelReader& read);

// The kernel's own kallsyms: every function in it has to be in the file.
absl::Status MatchKallsyms(const KernelTable& file, uint64_t slide, const KernelTable& kallsyms);

}  // namespace trapline::vm

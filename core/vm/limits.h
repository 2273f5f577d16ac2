// SPDX-License-Identifier: Apache-2.0
// How large a VM may be. Apart from vm.h, so that the daemon can tell without the core behind it.
#pragma once

#include <cstdint>

namespace trapline::vm {

constexpr uint32_t kMaxVcpus = 64;
constexpr uint64_t kMinMemoryBytes = uint64_t{16} << 20;
constexpr uint64_t kMaxMemoryBytes = uint64_t{64} << 30;

}  // namespace trapline::vm

// SPDX-License-Identifier: Apache-2.0
// The hypervisor's CPUID leaves: KVM's, so that a stock Linux uses its hypercalls, and Trapline's
// own.
#pragma once

#include <cstdint>
#include <optional>

#include "core/engine/vcpu_host.h"

namespace trapline::hypercall {

// Leaves 0x40000000 and up (Linux, Documentation/virt/kvm/x86/cpuid.rst). steal_time: whether
// PvClock will be told of it. Thread-safe.
std::optional<engine::CpuidLeaf> HypervisorLeaf(uint32_t leaf, bool steal_time);

}  // namespace trapline::hypercall

// SPDX-License-Identifier: Apache-2.0
// Guest memory by linear address, as a vCPU sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "core/engine/engine.h"
#include "core/machine/memory/guest_memory.h"

namespace trapline::vm {

// Both go by page walks that check presence only (engine::Vcpu::Translate), so the vCPU is not in
// Run.

// NOT_FOUND, OUT_OF_RANGE: something of it is not mapped, or is no RAM; bytes may be filled in
// part.
absl::Status ReadLinear(engine::Vcpu& vcpu, const machine::GuestMemory& memory, uint64_t linear,
                        std::span<std::byte> bytes);

// At most a page. FAILED_PRECONDITION: which address is not mapped or is no RAM; nothing was
// written.
absl::Status WriteLinear(engine::Vcpu& vcpu, machine::GuestMemory& memory, uint64_t linear,
                         std::span<const std::byte> bytes);

}  // namespace trapline::vm

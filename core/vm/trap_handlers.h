// SPDX-License-Identifier: Apache-2.0
// Where a 64-bit guest kernel's handlers of a few exceptions are: the one thing that the processor
// itself is told about where a kernel lies.
#pragma once

#include <array>
#include <cstdint>

#include "absl/status/statusor.h"
#include "core/engine/engine.h"
#include "core/machine/memory/guest_memory.h"

namespace trapline::vm {

// #DE, #UD, #GP, #PF.
constexpr std::array<uint8_t, 4> kTrapVectors = {0, 6, 13, 14};

struct TrapHandlers {
  std::array<uint64_t, kTrapVectors.size()> linear;
  // Of all: a kernel's image is one piece of physical memory, so what is at a linear address of it
  // is this much lower in guest-physical memory.
  uint64_t linear_to_physical;
};

// As the gates of this vCPU's IDT have them. FAILED_PRECONDITION: it has no such gates, yet. The
// vCPU is not in Run.
absl::StatusOr<TrapHandlers> ReadTrapHandlers(engine::Vcpu& vcpu,
                                              const machine::GuestMemory& memory);

}  // namespace trapline::vm

// SPDX-License-Identifier: Apache-2.0
// 64-bit gate descriptors (SDM volume 3, 6.14.1).
#include "core/vm/trap_handlers.h"

#include <cstring>

#include "core/vm/linear_memory.h"
#include "core/x86/flags.h"

namespace trapline::vm {
namespace {

constexpr uint64_t kGateSize = 16;
constexpr uint8_t kPresent = 0x80, kTypeMask = 0x1f, kInterruptGate = 0x0e, kTrapGate = 0x0f;

struct Gate {
  uint16_t offset_low, selector;
  uint8_t stack, type;
  uint16_t offset_middle;
  uint32_t offset_high, reserved;

  uint64_t offset() const {
    return uint64_t{offset_high} << 32 | uint64_t{offset_middle} << 16 | offset_low;
  }
};
static_assert(sizeof(Gate) == kGateSize);

absl::Status Missing(absl::string_view what) { return absl::FailedPreconditionError(what); }

}  // namespace

absl::StatusOr<TrapHandlers> ReadTrapHandlers(engine::Vcpu& vcpu,
                                              const machine::GuestMemory& memory) {
  const x86::Registers registers = vcpu.GetRegisters();
  if (!(registers.efer & x86::efer::kLma)) return Missing("the guest is not in long mode");
  TrapHandlers handlers{};
  for (size_t i = 0; i < kTrapVectors.size(); ++i) {
    uint64_t at = kTrapVectors[i] * kGateSize;
    std::array<std::byte, kGateSize> bytes;
    if (at + kGateSize - 1 > registers.idtr.limit ||
        !ReadLinear(vcpu, memory, registers.idtr.base + at, bytes).ok())
      return Missing("the guest has no handlers for exceptions");
    Gate gate;
    std::memcpy(&gate, bytes.data(), sizeof gate);
    uint8_t type = gate.type & kTypeMask;
    auto physical = vcpu.Translate(gate.offset());
    if (!(gate.type & kPresent) || (type != kInterruptGate && type != kTrapGate) || !physical.ok())
      return Missing("the guest has no handlers for exceptions");
    uint64_t difference = gate.offset() - *physical;
    if (i != 0 && difference != handlers.linear_to_physical)
      return Missing("the guest's handlers of exceptions do not lie in one image");
    handlers.linear[i] = gate.offset();
    handlers.linear_to_physical = difference;
  }
  return handlers;
}

}  // namespace trapline::vm

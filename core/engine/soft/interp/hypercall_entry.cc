// SPDX-License-Identifier: Apache-2.0
// The fast ways into the core. At `interrupt` the instruction asks the core whose site it is; at
// `linked` that was settled when the block was decoded, and what is left is a call. The core
// invalidates the code when it changes its mind.
#include "core/engine/soft/interp/hypercall_entry.h"

#include "core/engine/soft/cpu.h"

namespace trapline::engine::soft {
namespace {

constexpr uint8_t kVector = 0x1f;

const Op* Continue(Cpu& cpu, const HypercallFrame& frame, HypercallOutcome outcome) {
  uint64_t next = (frame.rip + frame.length) & cpu.RipMask();
  switch (outcome) {
    case HypercallOutcome::kInvalidOpcode:
      RaiseUd();
    case HypercallOutcome::kHalt:
      cpu.halted = true;
      cpu.rip = next;
      return cpu.Dispatch();
    case HypercallOutcome::kExit:
      cpu.attention.fetch_or(kAttentionKick, std::memory_order_relaxed);
      cpu.rip = next;
      return cpu.Dispatch();
    default:
      return cpu.Branch(next, 1);
  }
}

// A frame for the instruction op.
HypercallFrame FrameAt(Cpu& cpu, const Op* op) {
  HypercallFrame frame = cpu.Frame(cpu.RipOf(op));
  frame.length = op->length;
  return frame;
}

const Op* InterruptSite(Cpu& cpu, const Op* op) {
  HypercallFrame frame = FrameAt(cpu, op);
  HypercallOutcome outcome = cpu.host.OnHypercallInterrupt(frame, op->imm);
  if (outcome != HypercallOutcome::kNotOurs) return Continue(cpu, frame, outcome);
  Op plain = *op;
  plain.imm = kVector;
  return SoftwareInterrupt(cpu, &plain);
}

const Op* LinkedSite(Cpu& cpu, const Op* op) {
  HypercallFrame frame = FrameAt(cpu, op);
  HypercallOutcome outcome = cpu.host.OnLinkedHypercall(const_cast<void*>(op->aux), frame);
  return Continue(cpu, frame, outcome);
}

}  // namespace

void BindHypercallSite(Cpu& cpu, uint64_t gpa, Op& op) {
  if (op.run != SoftwareInterrupt || op.imm != kVector) return;
  op.aux = cpu.host.ResolveLinkedSite(gpa);
  op.run = op.aux ? LinkedSite : InterruptSite;
  op.imm = gpa;
}

}  // namespace trapline::engine::soft

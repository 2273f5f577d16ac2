// SPDX-License-Identifier: Apache-2.0
// KVM's paravirtual clock and steal time: structures in guest memory that MSRs point to
// (Linux, Documentation/virt/kvm/x86/msr.rst).
#pragma once

#include <cstdint>

#include "core/hypercall/services.h"

namespace trapline::hypercall {

// One vCPU's; called on its thread.
class PvClock {
 public:
  // frequency: of the guest's TSC, in Hz.
  PvClock(ServiceHost& host, uint64_t frequency) : host_(host), frequency_(frequency) {}

  // False: not one of these MSRs, or an address that is not RAM.
  bool ReadMsr(uint32_t index, uint64_t* value) const;
  bool WriteMsr(uint32_t index, uint64_t value);
  // How long this vCPU was kept from running so far, for the guest that asked to be told.
  void UpdateStealTime(uint64_t nanoseconds);
  bool WantsStealTime() const { return steal_time_ & 1; }
  void Reset() { system_time_ = wall_clock_ = steal_time_ = 0; }

 private:
  bool WriteSystemTime(uint64_t gpa);
  bool WriteWallClock(uint64_t gpa);
  bool WriteStealTime(uint64_t gpa);

  ServiceHost& host_;
  const uint64_t frequency_;
  uint64_t system_time_ = 0, wall_clock_ = 0, steal_time_ = 0;
  uint64_t stolen_ = 0;
  uint32_t steal_version_ = 0;
};

}  // namespace trapline::hypercall

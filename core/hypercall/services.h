// SPDX-License-Identifier: Apache-2.0
// What hypercalls do: KVM's own numbers and Trapline's (core/guest/abi.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/engine/vcpu_host.h"

namespace trapline::hypercall {

// What TRAPLINE_HC_VCPU_START asks for; the addresses are canonical.
struct VcpuStart {
  uint32_t vcpu = 0;
  uint64_t entry = 0, stack = 0, argument = 0;
};

enum class StartOutcome { kStarted, kNoSuchVcpu, kRunning };

// What the services ask of the VM. Called on vCPU threads; caller is that vCPU.
class ServiceHost {
 public:
  virtual ~ServiceHost() = default;

  // Ends that vCPU's HLT. False: no such APIC id.
  virtual bool KickVcpu(uint32_t apic_id) = 0;
  // Delivers a fixed interrupt or an NMI. False: no such APIC id.
  virtual bool SendInterrupt(uint32_t apic_id, bool nmi, uint8_t vector) = 0;
  // Guest-physical memory. False: not RAM.
  virtual bool ReadGuest(uint64_t gpa, std::span<std::byte> bytes) = 0;
  virtual bool WriteGuest(uint64_t gpa, std::span<const std::byte> bytes) = 0;
  // Guest time in ticks, at a reading of the host's counter.
  virtual uint64_t TicksAt(uint64_t host_cycles) = 0;
  virtual uint64_t Nanoseconds() = 0;
  virtual void ConsoleOutput(std::string_view bytes) = 0;
  // The guest ends itself with this status.
  virtual void Shutdown(uint32_t status) = 0;

  // --- Upcalls (core/vm/upcalls.h) ---
  // Makes entry the caller's upcall, with the trapline_vcpu_info at info, a multiple of 64, or
  // none where that is 0; entry 0 takes it back. False: info is not RAM.
  virtual bool RegisterUpcall(uint32_t caller, uint64_t entry, uint64_t info) = 0;
  // Raises the timer event on the caller when guest time reaches deadline, in ns; ~0: never.
  virtual void SetTimer(uint32_t caller, uint64_t deadline) = 0;
  // The caller's run must end soon for the start to happen (HypercallOutcome::kExit).
  virtual StartOutcome StartVcpu(uint32_t caller, const VcpuStart& start) = 0;
  // event is below 64. False: no such vCPU.
  virtual bool RaiseEvent(uint64_t vcpu, unsigned event) = 0;
  // Moves up to length bytes of console input to guest memory; how many. Nothing if that is not
  // RAM.
  virtual std::optional<uint64_t> ReadConsole(uint64_t gpa, uint64_t length) = 0;
};

// A call and its answer.
struct Call {
  uint32_t vcpu;
  uint64_t number;
  uint64_t args[4];
  uint64_t result = 0;
  engine::HypercallOutcome outcome = engine::HypercallOutcome::kServed;
};

// What only the ledger can do for a guest.
class LedgerServices {
 public:
  virtual ~LedgerServices() = default;
  virtual bool RegisterDirectSites(uint64_t start, uint64_t length) = 0;
  virtual bool LimitTechnique(uint64_t technique) = 0;
};

// Answers call; a number that has no service with -KVM_ENOSYS. Thread-safe for distinct vCPUs.
void Serve(ServiceHost& host, LedgerServices& ledger, Call& call);

}  // namespace trapline::hypercall

// SPDX-License-Identifier: Apache-2.0
// What an engine's vCPU is handed by the rest of the VM: memory-mapped and port I/O, MSRs,
// interrupts, time, hypercalls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/x86/registers.h"

namespace trapline::engine {

// One CPUID leaf (SDM volume 2A, CPUID).
struct CpuidLeaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// The registers of a vCPU that stands at a hypercall instruction, open to change by the service
// routine.
struct HypercallFrame {
  std::span<uint64_t, x86::kGprCount> gpr;
  uint64_t rip;  // of the hypercall instruction, as an offset in CS
  uint64_t gva;  // the same as a linear address
  uint8_t cpl;
  bool long_mode;  // 64-bit code: arguments are 64 bits wide, else 32
  uint8_t length =
      0;  // of the hypercall instruction; the core makes it that of the whole rewritten site
  uint64_t raised = 0;  // host cycles when the call came in, if the engine knows; else 0
};

// What the engine does after a hypercall was offered to the core.
enum class HypercallOutcome {
  kNotOurs,        // not a site of ours: the guest gets what the instruction means on its own
  kServed,         // go on behind the instruction (HypercallFrame::length)
  kHalt,           // go on behind the instruction, but leave Run with ExitReason::kHalt first
  kExit,           // likewise with ExitReason::kKick: the VM wants to do something
  kInvalidOpcode,  // a rewritten site where the original would have been no hypercall: raise #UD
};

// The callbacks of one vCPU. Every call but OnLost comes on that vCPU's own thread, from within
// Vcpu::Run.
class VcpuHost {
 public:
  virtual ~VcpuHost() = default;

  // An access to guest-physical memory that is not RAM; size is 1, 2, 4 or 8.
  virtual uint64_t ReadMmio(uint64_t gpa, unsigned size) = 0;
  virtual void WriteMmio(uint64_t gpa, unsigned size, uint64_t value) = 0;

  // Port I/O; size is 1, 2 or 4.
  virtual uint32_t ReadPort(uint16_t port, unsigned size) = 0;
  virtual void WritePort(uint16_t port, unsigned size, uint32_t value) = 0;

  // MSRs that the engine does not keep itself (APIC base, x2APIC, TSC deadline, paravirtual clocks,
  // MTRRs). False: no such MSR or a reserved value, and the guest gets #GP(0).
  virtual bool ReadMsr(uint32_t index, uint64_t* value) = 0;
  virtual bool WriteMsr(uint32_t index, uint64_t value) = 0;

  // The hypervisor's CPUID leaves (0x40000000 to 0x4fffffff); nothing: the leaf is absent.
  virtual std::optional<CpuidLeaf> HypervisorCpuid(uint32_t leaf) = 0;

  // True if a maskable interrupt waits for this vCPU with high enough a priority. Cheap.
  virtual bool InterruptPending() = 0;
  // Acknowledges it and returns its vector; nothing if it went away meanwhile.
  virtual std::optional<uint8_t> AcknowledgeInterrupt() = 0;
  // True once for each NMI that waits.
  virtual bool TakeNmi() = 0;
  // CR8, the task priority (bits 0 to 3).
  virtual uint8_t ReadTaskPriority() = 0;
  virtual void WriteTaskPriority(uint8_t priority) = 0;

  // The guest's TSC without IA32_TSC_ADJUST or writes to IA32_TSC, which the engine adds.
  virtual uint64_t Tsc() = 0;

  // How much more the host's TSC says than Tsc() does, while the vCPU runs.
  virtual uint64_t TscOffset() { return 0; }

  // True if exceptions shall end the run (ExitReason::kException) rather than be delivered through
  // the IDT. Invalid opcodes stay traps. Cheap.
  virtual bool WantsExceptions() { return false; }
  // The engine lost this vCPU outside Run (its process died, say): run it once more, whatever it
  // waits for, to learn why. Any thread.
  virtual void OnLost() {}

  // --- Hypercalls by the fast ways in (core/hypercall/hypercall.h tells the whole story) ---

  // The guest executes `int $0x1f` at gpa. kNotOurs: deliver the interrupt through the guest's IDT.
  virtual HypercallOutcome OnHypercallInterrupt(HypercallFrame& frame, uint64_t gpa) = 0;
  // The engine decodes `int $0x1f` at gpa: the site to bind a direct call to where one is `linked`,
  // or null. The binding holds until the engine is told to invalidate that code.
  virtual void* ResolveLinkedSite(uint64_t gpa) = 0;
  // The guest executes a site that was bound so.
  virtual HypercallOutcome OnLinkedHypercall(void* site, HypercallFrame& frame) = 0;

  // The guest is about to write [gpa, gpa + size), which lies in a page that SetShadowed marks. On
  // return no rewritten bytes stand in that range: they were put back, and their sites are retired.
  virtual void BeforeShadowedWrite(uint64_t gpa, uint64_t size) = 0;
  // Replaces in bytes, read from gpa in a shadowed page, what the patcher wrote by what the guest
  // had there. For an instruction fetch a rewritten site that starts at gpa itself stays: jumping
  // into the middle of one finds the original bytes.
  virtual void OverlayOriginal(uint64_t gpa, std::span<std::byte> bytes, bool fetch) = 0;
};

}  // namespace trapline::engine

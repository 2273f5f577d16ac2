// SPDX-License-Identifier: Apache-2.0
// The engine seam: what executes guest instructions.
//
// An engine makes vCPUs over the VM's RAM. Each vCPU runs on a thread of its caller's until an
// exit; what the exit means is the caller's business. On the way the vCPU calls its VcpuHost for
// I/O, interrupts, time and hypercalls. Engines know neither devices nor hypercalls; core/vm is the
// only place that brings them together.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/engine/site_counters.h"
#include "core/engine/vcpu_host.h"
#include "core/x86/exceptions.h"
#include "core/x86/registers.h"

namespace trapline::engine {

// A piece of guest-physical address space that is plain memory. gpa and size are multiples of 4
// KiB.
struct RamRegion {
  uint64_t gpa;
  uint64_t size;
  std::byte* host;  // read, written and executed from by the guest while any vCPU runs
};

enum class ExitReason {
  kTrap,       // an invalid opcode: see Exit::trap; nothing was delivered to the guest yet
  kHalt,       // HLT: run again once an interrupt waits
  kShutdown,   // triple fault
  kKick,       // Vcpu::Kick, or the host asked for it
  kException,  // a fault that the host wants to see (VcpuHost::WantsExceptions) or that the engine
               // cannot deliver: see Exit::exception; nothing was delivered to the guest
  kFailure,    // the engine cannot go on with this guest; Exit::failure says why
};

// Why Vcpu::Run returned.
struct Exit {
  ExitReason reason;
  // kTrap: where. The registers stand at the instruction, as a fault leaves them.
  struct Trap {
    uint64_t raised = 0;  // host cycles when the instruction faulted
    uint64_t gva = 0;     // linear address of the instruction
    uint8_t cpl = 0;
    bool long_mode = false;
    uint8_t length = 0;  // bytes that could be fetched, at most 3
    std::byte bytes[3] = {};
    uint64_t gpa[3] = {};  // guest-physical address of each of those bytes
  } trap{};
  // kException: which; kShutdown: the first of the three faults. The registers stand at the
  // instruction, or behind it for INT3, INTO and INT1, as the architecture has it.
  struct Exception {
    x86::Vector vector{};
    uint32_t error_code = 0;  // where the vector has one
    uint64_t address = 0;     // kPageFault: the linear address
  } exception{};
  std::string failure{};
};

enum class Access { kRead, kWrite, kFetch };

// One virtual CPU. Run and the register calls belong to one thread at a time; Kick,
// RequestAttention and instructions_retired may be called from any.
class Vcpu {
 public:
  virtual ~Vcpu() = default;

  // Executes guest instructions until an exit.
  virtual Exit Run() = 0;

  // Makes Run return with kKick soon, or at once when it is next called. Any thread.
  virtual void Kick() = 0;

  // Makes the vCPU look at VcpuHost::InterruptPending and TakeNmi before its next block. Any
  // thread.
  virtual void RequestAttention() = 0;

  // Registers of a vCPU that is not in Run.
  virtual x86::Registers GetRegisters() = 0;
  virtual void SetRegisters(const x86::Registers& registers) = 0;

  // The general-purpose registers and RIP of a vCPU that is not in Run, without the cost of all
  // others.
  virtual HypercallFrame Frame() = 0;
  virtual void SetRip(uint64_t rip) = 0;
  // RFLAGS alone.
  virtual void SetRflags(uint64_t rflags) {
    x86::Registers registers = GetRegisters();
    registers.rflags = rflags;
    SetRegisters(registers);
  }

  // Delivers an exception before the next instruction; the error code counts only where the vector
  // has one.
  virtual void InjectException(x86::Vector vector, uint32_t error_code) = 0;

  // The guest-physical address behind a linear one under the current mode, by a page walk that
  // changes nothing and checks presence only. NOT_FOUND: not mapped. Not in Run.
  virtual absl::StatusOr<uint64_t> Translate(uint64_t linear) = 0;

  // Guest instructions completed since creation. Any thread.
  virtual uint64_t instructions_retired() const = 0;
};

// A hypercall site as an engine is told of it; core/hypercall keeps the ledger.
struct SiteSpec {
  uint64_t gpa;
  uint32_t index;                             // row of its counters
  std::array<uint8_t, kSiteLength> original;  // as the guest has the bytes
  uint8_t length;                             // of the instruction: calls go on behind it
};

// How a site is entered: it faults, by `int $0x1f`, or without any fault.
enum class SiteEntry : uint8_t { kTrap, kInterrupt, kLinked };

enum class RewriteResult : uint8_t {
  kDone,
  kBytesChanged,  // the guest has other bytes there by now
  // kLinked alone: where a jump of the site's would have to lead there is
  kJumpOutside,    // no address space
  kJumpIntoRam,    // guest RAM
  kJumpIntoOwn,    // something else of the engine's
  kJumpUnplanned,  // nothing prepared: the site was not known at load, or there were too many
};

// Code of an engine's own that calls from a rewritten site pass, at its address in the guest's
// address space.
struct Trampoline {
  std::string name;  // "stub", "entry"
  uint64_t address;
  std::vector<std::byte> code;
  std::map<uint64_t, std::string> labels;  // what it leads to by name, in it and elsewhere
};

// What CPUID shall say beyond what the engine itself decides.
struct CpuConfig {
  uint32_t vcpu_count = 1;
  uint64_t tsc_frequency = 0;  // Hz
};

// One per VM. Thread-safe unless a call says otherwise.
class Engine {
 public:
  virtual ~Engine() = default;

  // Makes a vCPU in the RESET state with this local APIC id. All are made before any runs.
  // host must outlive the vCPU.
  virtual absl::StatusOr<std::unique_ptr<Vcpu>> CreateVcpu(uint32_t apic_id, VcpuHost& host) = 0;

  // Runs body alone: no other body, and no vCPU that could see what RewriteSite, SettleSite and
  // SetShadowed do half done. (`soft` holds all vCPUs between two instructions; `direct` changes
  // code under running ones.) Callable from any thread, a vCPU's own (from a VcpuHost call)
  // included. Not reentrant.
  virtual void RunExclusive(absl::FunctionRef<void()> body) = 0;

  // The same while no vCPU executes guest code at all. From outside the vCPUs' threads.
  virtual void RunHeld(absl::FunctionRef<void()> body) { RunExclusive(body); }

  // Forgets everything decoded from [gpa, gpa + size). Takes effect before each vCPU's next block.
  virtual void InvalidateCode(uint64_t gpa, uint64_t size) = 0;

  // Rewrites the site so that it is entered in that way. The bytes must be the original's, or what
  // an earlier call wrote. What does not succeed leaves the site as it was. Only within
  // RunExclusive.
  virtual RewriteResult RewriteSite(const SiteSpec& site, SiteEntry entry) = 0;

  // Whether the host has seen enough of this site: an engine may then serve and count calls there
  // by itself (site_counters.h). Only within RunExclusive.
  virtual void SettleSite(const SiteSpec& site, bool settled) = 0;

  // While this is on, calls that the engine serves by itself are recorded as well (call_log.h).
  virtual void TraceCalls(bool on) = 0;

  // What a call from this site passes, in order: none where the site is not linked, or leads
  // straight into the engine. Only within RunExclusive.
  virtual std::vector<Trampoline> TrampolinesOf(uint64_t) { return {}; }

  // Lays the guest's own bytes over what of bytes, which begin at gpa, the engine has written, at
  // sites that core/hypercall knows of or does not. Only within RunExclusive.
  virtual void OverlayOriginal(uint64_t, std::span<std::byte>) {}

  // An image was loaded into memory; no vCPU runs. The addresses of what may be hypercall
  // instructions and could not be told from other bytes.
  virtual std::vector<uint64_t> OnImageLoaded() { return {}; }

  // The VM is over: what only a running guest needs may go. No vCPU runs until it was given
  // registers again.
  virtual void Release() {}

  // No vCPU is in Run, and none will be before Thaw: a guest that only pretends to have left Run is
  // to stand still as well. Freezing what is frozen does nothing; a vCPU that is given registers
  // meanwhile starts unfrozen.
  virtual void Freeze() {}
  virtual void Thaw() {}

  // Marks the page at gpa as holding rewritten bytes: guest reads of it pass through
  // OverlayOriginal, guest writes through BeforeShadowedWrite. Instruction fetch sees the rewritten
  // bytes. Only within RunExclusive.
  virtual void SetShadowed(uint64_t gpa, bool shadowed) = 0;
};

// The software x86-64 CPU (core/engine/soft). ram must outlive the engine and be sorted and
// disjoint. INVALID_ARGUMENT: regions not page-aligned, unsorted or overlapping. UNAVAILABLE: the
// host kernel lacks membarrier(2), which code invalidation relies on.
absl::StatusOr<std::unique_ptr<Engine>> CreateSoftEngine(std::span<const RamRegion> ram,
                                                         const CpuConfig& config);

}  // namespace trapline::engine

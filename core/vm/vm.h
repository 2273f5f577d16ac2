// SPDX-License-Identifier: Apache-2.0
// A VM: its configuration, its lifecycle, its vCPU threads. The one place that brings engine,
// machine and hypercalls together; trapline-vmm puts it behind gRPC, tests and benchmarks use it as
// it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/unique_fd.h"
#include "core/engine/direct/probe.h"
#include "core/hypercall/hypercall_core.h"
#include "core/vm/limits.h"
#include "core/x86/registers.h"

namespace trapline::vm {

enum class EngineKind { kAuto, kSoft, kDirect, kKvm };

struct VmConfig {
  std::string name;                             // for logs
  uint32_t vcpus = 1;                           // 1 to kMaxVcpus
  uint64_t memory_bytes = uint64_t{256} << 20;  // a multiple of 4 KiB
  std::string kernel_path;                      // bzImage, ELF64, or Multiboot 1
  std::string initrd_path;                      // may be empty; the one module of a Multiboot image
  // Symbols of a Linux kernel, for who wants names that its own memory does not tell: a System.map
  // or an ELF vmlinux. May be empty.
  std::string symbols_path;
  std::string command_line;
  EngineKind engine = EngineKind::kAuto;
  hypercall::Policy policy;
  std::map<uint64_t, hypercall::Policy> site_policies;  // by GPA, of sites that may come to be
  std::string stats_path;  // where the stats file is made; empty: an unnamed one
  // What engine `direct` finds on this host. Nothing: the VM probes for itself where it needs to
  // know.
  std::optional<engine::direct::HostProbe> host_probe;
  // Opens the kernel, the initrd and the symbols for reading, by their paths; they are read when
  // the VM is made, and never again. Empty: where they are.
  std::function<absl::StatusOr<base::UniqueFd>(const std::string& path)> open_file;
};

// created -> running <-> paused; running or paused -> stopped or failed; stopped or failed ->
// running (a fresh boot).
enum class State { kCreated, kRunning, kPaused, kStopped, kFailed };
std::string_view StateName(State state);

// What a running VM tells its observer. Reset, power-off, panic and triple fault are events of
// their own.
enum class EventKind {
  kStarted,
  kPaused,
  kResumed,
  kReset,
  kStopped,
  kFailed,
  kGuestReset,     // the guest asked for a reset and was reset
  kGuestPowerOff,  // the guest switched itself off (kStopped follows)
  kGuestExit,    // the guest ended with a status: debug-exit port or the paravirtual shutdown call
                 // (kStopped follows)
  kTripleFault,  // a vCPU shut down (kFailed follows, or kGuestReset where the guest used it to
                 // reboot)
};

struct Event {
  EventKind kind;
  State state;          // after it
  std::string reason;   // readable
  int exit_status = 0;  // kGuestExit: as isa-debug-exit would end QEMU, (value << 1) | 1
};

// Called from the VM's threads, one call at a time for each function; must not call back into the
// Vm.
struct Observer {
  std::function<void(const Event&)> on_event;
  std::function<void(std::string_view bytes)> on_console_output;
  std::function<void(const hypercall::SiteEvent&)> on_site_event;
  // On each vCPU's thread, at the same time as others, before it runs its guest for the first time:
  // whoever wants to restrict the thread can. When the VM is made all that needs to be opened is.
  std::function<void()> on_vcpu_thread;
};

enum class StopMode {
  kGraceful,  // ACPI power button, then kForced when the grace period is over
  kForced,    // at once
};

enum class StopOutcome { kAlreadyStopped, kGuestStopped, kForced };

// One disassembled instruction.
struct Instruction {
  uint64_t address;
  std::vector<std::byte> bytes;
  std::string text;    // Intel syntax
  std::string symbol;  // "name+0x12", empty if unknown
};

// What begins at an address around a site: on either side, or on one alone.
struct SiteLine {
  uint64_t address;
  std::optional<Instruction> original, current;
  bool site = false;  // its bytes are the site's
};

// Code of the engine's own that a rewritten site leads to.
struct SiteTrampoline {
  uint64_t address;
  std::string name;  // "stub", "entry"
  std::vector<Instruction> instructions;
};

struct SiteCode {
  std::vector<SiteLine> lines;
  std::vector<SiteTrampoline> trampolines;  // in the order in which a call passes them
};

// Thread-safe. Moves are serialised: one that comes while another is under way is answered ABORTED.
class Vm {
 public:
  // Checks the configuration, loads the images and makes the vCPUs; no guest code runs yet.
  // INVALID_ARGUMENT: what is wrong with which field, with payload "trapline/field" naming it
  // (kernel, initrd, symbols_path, command_line, vcpus, memory_bytes, engine).
  static absl::StatusOr<std::unique_ptr<Vm>> Create(const VmConfig& config, Observer observer);
  virtual ~Vm() = default;

  // FAILED_PRECONDITION, naming the current state and those allowed, where the state does not
  // permit the move.
  virtual absl::Status Start() = 0;
  virtual absl::Status Pause() = 0;
  virtual absl::Status Resume() = 0;
  virtual absl::Status Reset() = 0;
  virtual absl::StatusOr<StopOutcome> Stop(StopMode mode, absl::Duration grace) = 0;

  virtual State state() const = 0;
  virtual std::string state_reason() const = 0;
  virtual const VmConfig& config() const = 0;
  virtual EngineKind engine() const = 0;          // the one chosen
  virtual std::string engine_reason() const = 0;  // readable: why that one
  // The status of the last kGuestExit, or -1.
  virtual int exit_status() const = 0;
  // Of the vCPU whose fault ended the VM since it was started: the reason, registers and the code
  // around RIP, as lines. Empty: none did.
  virtual std::string failure_report() const = 0;

  // Bytes for the guest's serial port; blocks no one, what does not fit the queue is refused
  // (RESOURCE_EXHAUSTED).
  virtual absl::Status WriteConsole(std::string_view bytes) = 0;

  // Registers of a vCPU; a running VM is held for a moment to read them. OUT_OF_RANGE: no such
  // vCPU.
  virtual absl::StatusOr<x86::Registers> ReadRegisters(uint32_t vcpu) = 0;
  // Guest memory by guest-physical address, or by linear address as that vCPU sees it.
  virtual absl::StatusOr<std::vector<std::byte>> ReadPhysical(uint64_t gpa, uint64_t size) = 0;
  virtual absl::StatusOr<std::vector<std::byte>> ReadLinear(uint32_t vcpu, uint64_t gva,
                                                            uint64_t size) = 0;
  // count instructions at a linear address (at most 1,000), in the mode that vCPU is in.
  virtual absl::StatusOr<std::vector<Instruction>> Disassemble(uint32_t vcpu, uint64_t gva,
                                                               uint32_t count) = 0;
  // As many instructions before and behind a site as that, at most 100 each, as the guest wrote
  // them and as they are. NOT_FOUND: no such site.
  virtual absl::StatusOr<SiteCode> DisassembleSite(uint64_t gpa, uint32_t before,
                                                   uint32_t after) = 0;
  // The symbol that covers a linear address: "name+0x12", empty if unknown.
  virtual std::string Symbolize(uint64_t gva) = 0;
  // Gives sites that have none yet their symbols.
  virtual void SymbolizeSites() = 0;
  // Where symbols come from, or why there are none; readable.
  virtual std::string symbols_state() const = 0;

  // Sites, policy, counters and the trace; valid for the Vm's life.
  virtual hypercall::HypercallCore& hypercalls() = 0;

  // Guest instructions completed, of all vCPUs.
  virtual uint64_t instructions_retired() const = 0;
};

}  // namespace trapline::vm

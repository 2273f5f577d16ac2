// SPDX-License-Identifier: Apache-2.0
// Faults and kicks of guest code, as signals.
//
// A handler runs on a stack of its own with all signals blocked; the kernel keeps the guest's
// registers, vector state included, in the signal's frame and loads them again. What is served here
// goes back from here. Everything else is copied into the control page, handed over, and copied
// back. A fault within the handler itself (guest code that has spoilt what this program lives on)
// finds its signal blocked, and the kernel ends the process.
//
// Which exception it was says the trap number that the kernel leaves in the context
// (uapi/asm/sigcontext.h). `int $0x1f` from ring 3 is a #GP whose error code names the vector and
// the IDT (SDM volume 3, section 6.13); no other instruction has that code.
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <x86intrin.h>

#include "core/engine/direct/program/process.h"
#include "core/guest/abi.h"
#include "core/x86/exceptions.h"
#include "core/x86/registers.h"

namespace trapline::engine::direct {
namespace {

constexpr uint64_t kInterruptError = TRAPLINE_HYPERCALL_VECTOR << 3 | 2;
constexpr uint64_t kAllBlocked = ~uint64_t{0};
constexpr size_t kStackSize = 64 << 10;  // vector state is up to 11 KiB of it
alignas(16) char signal_stack[kStackSize];

// In the order of Frame::gpr.
constexpr int kRegisters[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                              REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                              REG_R12, REG_R13, REG_R14, REG_R15};

void ToFrame(const greg_t* registers, Frame& frame) {
  for (int i = 0; i < 16; ++i) frame.gpr[i] = static_cast<uint64_t>(registers[kRegisters[i]]);
  frame.rip = static_cast<uint64_t>(registers[REG_RIP]);
  frame.rflags = static_cast<uint64_t>(registers[REG_EFL]);
}
void FromFrame(const Frame& frame, greg_t* registers) {
  for (int i = 0; i < 16; ++i) registers[kRegisters[i]] = static_cast<greg_t>(frame.gpr[i]);
  registers[REG_RIP] = static_cast<greg_t>(frame.rip);
  registers[REG_EFL] = static_cast<greg_t>(frame.rflags);
}

void HandOverFrom(greg_t* registers, Request request) {
  ToFrame(registers, control().frame);
  HandOver(request);
  FromFrame(control().frame, registers);
}

// A hypercall by a fault at the site that the instruction pointer stands at.
void Hypercall(greg_t* registers, Request request, Path path, uint64_t overhead) {
  control().raised = __rdtsc() - overhead;
  auto gpa = static_cast<uint64_t>(registers[REG_RIP]);
  if (const SiteRow* row = FindServable(gpa)) {
    Frame& frame = control().frame;
    ToFrame(registers, frame);
    if (CountAndServe(CountersOf(*row), path, frame, overhead)) {
      registers[REG_RAX] = static_cast<greg_t>(frame.gpr[x86::kRax]);
      registers[REG_RIP] = static_cast<greg_t>(gpa + row->length);
      // Something was posted, and nobody empties the ring.
      if (control().attention != 0) {
        control().attention = 0;
        HandOverFrom(registers, Request::kKicked);
      }
      return;
    }
  }
  HandOverFrom(registers, request);
}

bool Within(uint64_t address, const char* start, const char* end) {
  return address >= reinterpret_cast<uint64_t>(start) && address < reinterpret_cast<uint64_t>(end);
}

// entry.S tells what this is about.
void Kick(greg_t* registers) {
  ControlPage& c = control();
  auto rip = static_cast<uint64_t>(registers[REG_RIP]);
  if (Within(rip, linked_tail, linked_tail_end)) {
    constexpr uint64_t kStatus = 0xd5, kOverflow = 1 << 11;  // of SAHF, and OF
    registers[REG_RAX] = static_cast<greg_t>(c.result);
    registers[REG_RCX] = static_cast<greg_t>(c.rcx);
    registers[REG_RDX] = static_cast<greg_t>(c.rdx);
    uint64_t flags = static_cast<uint64_t>(registers[REG_EFL]) & ~(kStatus | kOverflow);
    flags |= (c.flags >> 8 & kStatus) | ((c.flags & 1) != 0 ? kOverflow : 0);
    registers[REG_EFL] = static_cast<greg_t>(flags);
    registers[REG_RIP] = static_cast<greg_t>(c.return_rip);
  } else if (Within(rip, resume_tail, resume_tail_end)) {
    FromFrame(c.frame, registers);
  } else if (rip < guest_text().start || rip >= guest_text().end) {
    c.attention = 1;
    return;
  }
  c.attention = 0;
  HandOverFrom(registers, Request::kKicked);
}

void Fault(greg_t* registers, uint64_t vector, uint64_t error_code, uint64_t address) {
  ControlPage& c = control();
  c.vector = vector;
  c.error_code = error_code;
  c.address = address;
  HandOverFrom(registers, Request::kFault);
}

// Where the kernel's page of old system calls lies, on top of every address space.
constexpr uint64_t kVsyscall = 0xffffffffff600000;

// Guest code was to be fetched where no memory is.
void NothingThere(greg_t* registers, uint64_t address) {
  constexpr uint64_t kUserFetch = 0x14;
  Fault(registers, static_cast<uint64_t>(x86::Vector::kPageFault), kUserFetch, address);
}

// System calls are no part of a guest's world: SYSCALL is an invalid opcode with EFER.SCE clear,
// `int $0x80` a gate that is not there. A call of the page at the top of all address spaces that
// the kernel answers without an instruction's being executed there is a jump to where nothing is;
// the kernel has popped its return address by the time of the signal.
void SystemCallOfGuest(greg_t* registers, const siginfo_t* info) {
  constexpr greg_t kLength = 2;
  constexpr unsigned kX86_64 = 0xc000003e;  // AUDIT_ARCH_X86_64
  auto from = reinterpret_cast<uint64_t>(info->si_call_addr);
  if (from >= kVsyscall) {
    registers[REG_RIP] = static_cast<greg_t>(from);
    registers[REG_RSP] -= static_cast<greg_t>(sizeof(uint64_t));
    return NothingThere(registers, from);
  }
  registers[REG_RIP] -= kLength;
  if (info->si_arch == kX86_64) {
    Fault(registers, static_cast<uint64_t>(x86::Vector::kInvalidOpcode), 0, 0);
  } else {
    Fault(registers, static_cast<uint64_t>(x86::Vector::kGeneralProtection), 0x80 << 3 | 2, 0);
  }
}

// Guest code can jump into the kernel's segment for 32-bit code, and nothing traps. The VMM knows
// of 64-bit code alone; so a guest found there gets the fault that the jump would have raised had
// there been no such segment, and goes on in 64-bit code.
bool LeftLongMode(greg_t* registers, uint64_t* selector) {
  constexpr greg_t kSelector = 0xffff, kUserCode = 0x33;
  *selector = static_cast<uint64_t>(registers[REG_CSGSFS] & kSelector);
  registers[REG_CSGSFS] = (registers[REG_CSGSFS] & ~kSelector) | kUserCode;
  return *selector != kUserCode;
}

void Dispatch(int signal, const siginfo_t* info, greg_t* registers) {
  ControlPage& c = control();
  auto vector = static_cast<uint64_t>(registers[REG_TRAPNO]);
  auto error = static_cast<uint64_t>(registers[REG_ERR]);
  uint64_t selector;
  if (LeftLongMode(registers, &selector)) {
    constexpr uint64_t kIndex = 0xfffc;
    return Fault(registers, static_cast<uint64_t>(x86::Vector::kGeneralProtection),
                 selector & kIndex, 0);
  }
  if (signal == kKickSignal) return Kick(registers);
  if (signal == SIGSYS) return SystemCallOfGuest(registers, info);
  auto rip = static_cast<uint64_t>(registers[REG_RIP]);
  // The kernel's own finding, for which it names no exception.
  if (rip >= kVsyscall) return NothingThere(registers, rip);
  // A guest that single-steps goes on behind a linked call, not in a stub.
  if (vector == static_cast<uint64_t>(x86::Vector::kDebug) &&
      (rip < guest_text().start || rip >= guest_text().end))
    return;
  if (vector == static_cast<uint64_t>(x86::Vector::kInvalidOpcode))
    return Hypercall(registers, Request::kTrap, Path::kTrap, c.trap_cycles);
  if (vector == static_cast<uint64_t>(x86::Vector::kGeneralProtection) && error == kInterruptError)
    return Hypercall(registers, Request::kInterrupt, Path::kInterrupt, c.interrupt_cycles);
  if (vector == static_cast<uint64_t>(x86::Vector::kBreakpoint)) {
    // The patcher's, in the first byte of a site that is being rewritten; or the guest's own, as
    // the VMM will see.
    registers[REG_RIP] -= 1;
    return Hypercall(registers, Request::kTrap, Path::kTrap, c.trap_cycles);
  }
  // Where `vmcall` raises #GP (VT is in use, but not by us).
  if (vector == static_cast<uint64_t>(x86::Vector::kGeneralProtection) && error == 0 &&
      FindServable(static_cast<uint64_t>(registers[REG_RIP])))
    return Hypercall(registers, Request::kTrap, Path::kTrap, c.trap_cycles);
  Fault(registers, vector, error, static_cast<uint64_t>(registers[REG_CR2]));
}

void OnSignal(int signal, siginfo_t* info, void* context) {
  Dispatch(signal, info, static_cast<ucontext_t*>(context)->uc_mcontext.gregs);
}

// The kernel's own, which the C library's differs from.
struct KernelAction {
  void (*handler)(int, siginfo_t*, void*);
  uint64_t flags;
  void (*restorer)();
  uint64_t mask;
};

}  // namespace

long InstallHandlers() {
  constexpr uint64_t kRestorer = 0x04000000;  // SA_RESTORER
  stack_t stack{};
  stack.ss_sp = signal_stack;
  stack.ss_size = kStackSize;
  if (long error = SystemCall(SYS_sigaltstack, reinterpret_cast<long>(&stack))) return error;
  const KernelAction action{OnSignal, SA_SIGINFO | SA_ONSTACK | kRestorer, ReturnFromSignal,
                            kAllBlocked};
  for (int signal : {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, kKickSignal}) {
    if (long error = SystemCall(SYS_rt_sigaction, signal, reinterpret_cast<long>(&action), 0,
                                sizeof action.mask))
      return error;
  }
  uint64_t none = 0;
  return SystemCall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&none), 0, sizeof none);
}

}  // namespace trapline::engine::direct

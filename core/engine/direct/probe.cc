// SPDX-License-Identifier: Apache-2.0
// Executes each instruction many times with a signal handler that steps over it, and tries what the
// guest process will need.
//
// All of it happens in a child that writes its figures into shared memory; whatever the
// instructions do to it, the caller only loses the figures. The child is forked from a process with
// threads, so between fork and _exit it calls nothing that takes a lock: system calls alone.
//
// The code page is not writable while an instruction is timed, since KVM as an outer hypervisor
// rewrites the other vendor's hypercall instruction where it can (it then executes silently as
// vmcall; on a page that is not writable the attempt ends as a page fault). Whether it does is
// found out by one more execution on a page that is writable, and a look at the bytes afterwards.
#include "core/engine/direct/probe.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <span>

#include "core/base/cycles.h"

namespace trapline::engine::direct {
namespace {

constexpr int kCalls = 101;
constexpr unsigned kChildSeconds = 5;
constexpr size_t kPageSize = 4096;
constexpr uintptr_t kLowestGuestPage = 0x10000;  // Linux's default vm.mmap_min_addr
constexpr unsigned long kHwcap2FsGsBase = 2;  // HWCAP2_FSGSBASE, arch/x86/include/uapi/asm/hwcap2.h

constexpr greg_t kBreakpoint = 3, kInvalidOpcode = 6, kGeneralProtection = 13;

// Three bytes each, filled up with nops, so that the handler steps over all of them alike.
constexpr size_t kLength = 3;
struct Probe {
  const char* name;
  std::array<uint8_t, kLength> bytes;
};
enum ProbeIndex { kVmcall, kVmmcall, kUd2, kInterrupt, kInt3, kHlt, kIn, kOut, kCpuid, kCount };
constexpr Probe kProbes[kCount] = {{"vmcall", {0x0f, 0x01, 0xc1}}, {"vmmcall", {0x0f, 0x01, 0xd9}},
                                   {"ud2", {0x0f, 0x0b, 0x90}},    {"int 0x1f", {0xcd, 0x1f, 0x90}},
                                   {"int3", {0xcc, 0x90, 0x90}},   {"hlt", {0xf4, 0x90, 0x90}},
                                   {"in", {0xe4, 0x80, 0x90}},     {"out", {0xe6, 0x80, 0x90}},
                                   {"cpuid", {0x0f, 0xa2, 0x90}}};

struct Figure {
  bool done;
  TrapKind kind;
  int signal;
  uint64_t cycles;
};

// What the child finds out, in memory shared with it.
struct Findings {
  Figure figures[kCount];
  bool cpuid_faults;
  bool support_done;
  bool seccomp, memfd, low_page, membarrier;
};

volatile int last_signal = 0;
volatile greg_t last_vector = 0;

void StepOver(int signal, siginfo_t*, void* context) {
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  last_signal = signal;
  last_vector = registers[REG_TRAPNO];
  // int3 is a trap: it reports the address behind itself.
  registers[REG_RIP] += kLength - (last_vector == kBreakpoint ? 1 : 0);
}

void CatchFaults() {
  struct sigaction action = {};
  action.sa_sigaction = StepOver;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  for (int signal : {SIGILL, SIGSEGV, SIGTRAP, SIGBUS}) sigaction(signal, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

TrapKind KindOfLast() {
  if (last_signal == 0) return TrapKind::kSilent;
  if (last_vector == kInvalidOpcode) return TrapKind::kInvalidOpcode;
  if (last_vector == kGeneralProtection) return TrapKind::kGeneralProtection;
  return TrapKind::kOther;
}

// A page with the instruction and a return, or null. It maps a file that was written before, as
// guest code does: a service that may not execute what it wrote in place (systemd's
// MemoryDenyWriteExecute=) may do this.
const uint8_t* MakeCode(const Probe& probe, int protection) {
  std::array<uint8_t, kLength + 1> code;
  std::copy(probe.bytes.begin(), probe.bytes.end(), code.begin());
  code[kLength] = 0xc3;  // ret
  int fd = memfd_create("trapline-probe", MFD_CLOEXEC);
  if (fd < 0) return nullptr;
  bool written = ftruncate(fd, kPageSize) == 0 &&
                 pwrite(fd, code.data(), code.size(), 0) == static_cast<ssize_t>(code.size());
  void* page = written ? mmap(nullptr, kPageSize, protection, MAP_SHARED, fd, 0) : MAP_FAILED;
  close(fd);
  return page == MAP_FAILED ? nullptr : static_cast<const uint8_t*>(page);
}

void Execute(const uint8_t* code) {
  // RAX: an unknown hypercall number, should somebody answer; a CPUID leaf that there is not.
  uint64_t rax = ~uint32_t{0}, rcx = 0;
  // Below the red zone, where the compiler may keep something.
  asm volatile("sub $128, %%rsp; call *%[code]; add $128, %%rsp"
               : "+a"(rax), "+c"(rcx)
               : [code] "r"(code)
               : "rbx", "rdx", "rsi", "memory", "cc");
}

void Measure(size_t index, Figure* figure) {
  const uint8_t* code = MakeCode(kProbes[index], PROT_READ | PROT_EXEC);
  if (!code) return;
  std::array<uint64_t, kCalls> cycles;
  last_signal = 0;
  for (uint64_t& sample : cycles) {
    uint64_t start = base::HostCycles();
    Execute(code);
    sample = base::HostCycles() - start;
  }
  std::nth_element(cycles.begin(), cycles.begin() + kCalls / 2, cycles.end());
  *figure = {true, KindOfLast(), last_signal, cycles[kCalls / 2]};
}

bool IsRewritten(size_t index) {
  // Refused where the host lets nobody have pages that are writable and executable: then nothing
  // of the kind can happen to a guest's either.
  const uint8_t* code = MakeCode(kProbes[index], PROT_READ | PROT_WRITE | PROT_EXEC);
  if (!code) return false;
  Execute(code);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return !std::equal(kProbes[index].bytes.begin(), kProbes[index].bytes.end(), code);
}

void ProbeTraps(Findings* findings) {
  for (size_t i = 0; i < kCount; ++i) {
    // Last, as nothing behind it in this process may use cpuid.
    if (i == kCpuid) findings->cpuid_faults = syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) == 0;
    Measure(i, &findings->figures[i]);
    if ((i == kVmcall || i == kVmmcall) && findings->figures[i].done && IsRewritten(i))
      findings->figures[i].kind = TrapKind::kRewritten;
  }
}

void ProbeSupport(Findings* findings) {
  const uint32_t action = SECCOMP_RET_TRAP;
  findings->seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
  findings->memfd = memfd_create("trapline-probe", MFD_CLOEXEC) >= 0;
  // By the system call itself: sanitizers keep the wrapper from addresses of their own.
  auto* wanted = reinterpret_cast<void*>(kLowestGuestPage);
  findings->low_page = syscall(SYS_mmap, wanted, kPageSize, PROT_READ,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
                               0) == static_cast<long>(kLowestGuestPage);
  const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  findings->membarrier = commands > 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0;
  findings->support_done = true;
}

[[noreturn]] void RunChild(Findings* findings) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit none = {};
  setrlimit(RLIMIT_CORE, &none);
  signal(SIGALRM, SIG_DFL);
  alarm(kChildSeconds);
  ProbeSupport(findings);
  CatchFaults();
  ProbeTraps(findings);
  _exit(0);
}

std::string SignalName(int signal) {
  const char* name = signal ? sigabbrev_np(signal) : nullptr;
  return name ? std::string("SIG") + name : "";
}

std::string FirstMissing(const Findings& findings) {
  const auto kind_of = [&](size_t i) {
    return findings.figures[i].done ? findings.figures[i].kind : TrapKind::kUnknown;
  };
  const struct {
    bool there;
    const char* otherwise;
  } needs[] = {
      {findings.support_done, "the process that finds out what is there could not run"},
      {findings.seccomp, "the kernel has no seccomp filters with SECCOMP_RET_TRAP"},
      {findings.memfd, "memfd_create does not work"},
      {findings.low_page,
       "nothing can be mapped at 0x10000 (sysctl vm.mmap_min_addr must be 65536 or less)"},
      {(getauxval(AT_HWCAP2) & kHwcap2FsGsBase) != 0,
       "user code may not use FSGSBASE (a CPU since 2012 and Linux 5.9)"},
      {findings.membarrier, "the kernel has no MEMBARRIER_CMD_GLOBAL_EXPEDITED (Linux 4.16)"},
      {kind_of(kUd2) == TrapKind::kInvalidOpcode, "ud2 does not raise #UD"},
      {kind_of(kInterrupt) == TrapKind::kGeneralProtection, "int $0x1f does not raise #GP"},
  };
  for (const auto& need : needs) {
    if (!need.there) return need.otherwise;
  }
  return "";
}

HostProbe Conclude(const Findings& findings) {
  HostProbe probe;
  for (size_t i = 0; i < kCount; ++i) {
    const Figure& figure = findings.figures[i];
    if (!figure.done) continue;
    probe.traps.push_back({kProbes[i].name, figure.kind, SignalName(figure.signal), figure.cycles});
  }
  if (findings.figures[kVmcall].done) probe.vmcall = findings.figures[kVmcall].kind;
  if (findings.figures[kVmmcall].done) probe.vmmcall = findings.figures[kVmmcall].kind;
  probe.cpuid_faults = findings.cpuid_faults && findings.figures[kCpuid].done &&
                       findings.figures[kCpuid].kind == TrapKind::kGeneralProtection;
  probe.missing = FirstMissing(findings);
  return probe;
}

}  // namespace

std::string_view TrapKindName(TrapKind kind) {
  switch (kind) {
    case TrapKind::kUnknown:
      return "unknown";
    case TrapKind::kInvalidOpcode:
      return "#UD";
    case TrapKind::kGeneralProtection:
      return "#GP";
    case TrapKind::kOther:
      return "other fault";
    case TrapKind::kSilent:
      return "silent";
    case TrapKind::kRewritten:
      return "rewritten";
  }
  return "unknown";
}

HostProbe ProbeHost() {
  HostProbe failed;
  failed.missing = "the process that finds out what is there could not be made";
  void* shared =
      mmap(nullptr, sizeof(Findings), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return failed;
  auto* findings = new (shared) Findings{};
  const pid_t child = fork();
  if (child == 0) RunChild(findings);
  while (child > 0 && waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  HostProbe probe = child > 0 ? Conclude(*findings) : failed;
  munmap(shared, sizeof(Findings));
  return probe;
}

uint64_t HostProbe::CyclesOf(std::string_view instruction) const {
  for (const TrapResult& trap : traps) {
    if (trap.instruction == instruction) return trap.cycles;
  }
  return 0;
}

}  // namespace trapline::engine::direct

// SPDX-License-Identifier: Apache-2.0
// Executes each instruction many times with a signal handler that steps over it.
//
// The code page is not writable, since an outer hypervisor may rewrite `vmmcall` where it can. The
// child does nothing but that and writes its figures into shared memory; whatever the instructions
// do to it, the daemon only loses the figures.
#include "daemon/control/trap_probe.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "core/base/cycles.h"

namespace trapline::daemon {
namespace {

constexpr int kCalls = 400;
constexpr size_t kCount = 4;
constexpr unsigned kChildSeconds = 5;

struct Probe {
  const char* name;
  std::array<uint8_t, 3> bytes;
};
constexpr Probe kProbes[kCount] = {{"vmcall", {0x0f, 0x01, 0xc1}},
                                   {"vmmcall", {0x0f, 0x01, 0xd9}},
                                   {"ud2", {0x0f, 0x0b, 0x90}},
                                   {"int 0x1f", {0xcd, 0x1f, 0x90}}};

struct Figures {
  volatile bool done[kCount];
  volatile int signal[kCount];
  volatile uint64_t cycles[kCount];
};

volatile int last_signal = 0;

void StepOver(int signal, siginfo_t*, void* context) {
  last_signal = signal;
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] += 3;
}

void RunChild(Figures* figures) {
  alarm(kChildSeconds);
  struct sigaction action = {};
  action.sa_sigaction = StepOver;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  for (int signal : {SIGILL, SIGSEGV, SIGTRAP, SIGBUS}) sigaction(signal, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (size_t i = 0; i < kCount; ++i) {
    void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) _exit(1);
    auto* code = static_cast<uint8_t*>(page);
    std::copy(kProbes[i].bytes.begin(), kProbes[i].bytes.end(), code);
    code[3] = 0xc3;  // ret
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
    static uint64_t cycles[kCalls];
    last_signal = 0;
    for (uint64_t& sample : cycles) {
      uint64_t start = base::HostCycles();
      // An unknown hypercall number, should somebody answer.
      asm volatile("call *%[code]"
                   :
                   : [code] "r"(page), "a"(~0u)
                   : "rbx", "rcx", "rdx", "rsi", "memory", "cc");
      sample = base::HostCycles() - start;
    }
    std::sort(cycles, cycles + kCalls);
    figures->cycles[i] = cycles[kCalls / 2];
    figures->signal[i] = last_signal;
    figures->done[i] = true;
  }
  _exit(0);
}

std::string SignalName(int signal) {
  const char* name = signal ? sigabbrev_np(signal) : nullptr;
  return name ? std::string("SIG") + name : "";
}

}  // namespace

std::vector<TrapResult> ProbeTraps() {
  std::vector<TrapResult> results;
  void* shared =
      mmap(nullptr, sizeof(Figures), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return results;
  auto* figures = static_cast<Figures*>(shared);
  pid_t child = fork();
  if (child == 0) RunChild(figures);
  if (child > 0) {
    waitpid(child, nullptr, 0);
    for (size_t i = 0; i < kCount; ++i) {
      if (figures->done[i])
        results.push_back({kProbes[i].name, SignalName(figures->signal[i]), figures->cycles[i]});
    }
  }
  munmap(shared, sizeof(Figures));
  return results;
}

}  // namespace trapline::daemon

// SPDX-License-Identifier: Apache-2.0
// The child: its memory, and the handler that goes from instance to instance.
#include "tests/differential/native.h"

#include <asm/prctl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "core/x86/exceptions.h"
#include "core/x86/flags.h"

namespace trapline::differential {

// What parent and child share.
struct NativeCpu::Shared {
  Background background;
  size_t count;
  volatile size_t current;  // the instance that runs, for the parent to tell which one did harm
  volatile bool finished;
  Instance instances[kBatchSize];
  Outcome outcomes[kBatchSize];
};

namespace {

constexpr int kTimeoutSeconds = 20;
constexpr size_t kSignalStack = 256 * 1024;
constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
// In the frame's extended state: which components are loaded from it (SDM volume 1,
// section 13.4.2).
constexpr size_t kXstateHeader = 512;
constexpr uint64_t kX87AndSse = 3;
// In the order of x86::Gpr.
constexpr int kGregs[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                          REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

// The child's state lies in plain globals, since it is a handler that uses them.
struct Child {
  const Instance* instances;
  Outcome* outcomes;
  const Background* background;
  size_t count;
  volatile size_t* current;
  volatile bool* finished;
  size_t next = 0;
  std::byte* memory = nullptr;  // the four pieces, writable, at another address
};
Child* g_child = nullptr;

long ArchPrctl(int code, uint64_t address) { return syscall(SYS_arch_prctl, code, address); }

void Record(const ucontext_t& frame, Outcome* outcome) {
  const auto& gregs = frame.uc_mcontext.gregs;
  State& out = outcome->out;
  for (unsigned i = 0; i < x86::kGprCount; ++i)
    out.gpr[i] = static_cast<uint64_t>(gregs[kGregs[i]]);
  out.rip = static_cast<uint64_t>(gregs[REG_RIP]);
  out.rflags = static_cast<uint64_t>(gregs[REG_EFL]);
  auto selectors = static_cast<uint64_t>(gregs[REG_CSGSFS]);
  out.cs = static_cast<uint16_t>(selectors);
  out.ss = static_cast<uint16_t>(selectors >> 48);
  asm volatile("mov %%ds, %0" : "=r"(out.ds));
  asm volatile("mov %%es, %0" : "=r"(out.es));
  ArchPrctl(ARCH_GET_GS, reinterpret_cast<uint64_t>(&out.gs_base));
  std::memcpy(out.fxsave.data(), frame.uc_mcontext.fpregs, out.fxsave.size());
  outcome->vector = static_cast<uint8_t>(gregs[REG_TRAPNO]);
  bool page_fault = gregs[REG_TRAPNO] == static_cast<int>(x86::Vector::kPageFault);
  bool has_error = x86::HasErrorCode(static_cast<x86::Vector>(outcome->vector));
  outcome->error_code = has_error ? static_cast<uint32_t>(gregs[REG_ERR]) : 0;
  outcome->fault_address = page_fault ? static_cast<uint64_t>(gregs[REG_CR2]) : 0;
  std::memcpy(outcome->memory.data(), g_child->memory, kMemorySize);
}

// A signal frame brings back neither ID nor NT: they are what they were in the handler. (Below the
// red zone, which the compiler may use.)
void ClearStickyFlags() {
  constexpr uint64_t kKept = ~(x86::rflags::kId | x86::rflags::kNt);
  asm volatile(
      "lea -128(%%rsp), %%rsp; pushfq; andq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::"r"(kKept)
      : "cc", "memory");
}

void Begin(const Instance& instance, ucontext_t* frame) {
  Prepare(instance, *g_child->background,
          std::span<std::byte, kMemorySize>(g_child->memory, kMemorySize));
  auto& gregs = frame->uc_mcontext.gregs;
  const State& in = instance.in;
  for (unsigned i = 0; i < x86::kGprCount; ++i) gregs[kGregs[i]] = static_cast<greg_t>(in.gpr[i]);
  gregs[REG_RIP] = static_cast<greg_t>(in.rip);
  gregs[REG_EFL] = static_cast<greg_t>(in.rflags);
  gregs[REG_CSGSFS] = static_cast<greg_t>(uint64_t{in.ss} << 48 | in.cs);
  asm volatile("mov %0, %%ds" ::"r"(in.ds));
  asm volatile("mov %0, %%es" ::"r"(in.es));
  ArchPrctl(ARCH_SET_GS, in.gs_base);
  ClearStickyFlags();
  auto* image = reinterpret_cast<std::byte*>(frame->uc_mcontext.fpregs);
  // What follows MXCSR in the image is a mask that the kernel checks against the processor's.
  std::memcpy(image, in.fxsave.data(), 28);
  std::memcpy(image + 32, in.fxsave.data() + 32, in.fxsave.size() - 32);
  uint64_t components;
  std::memcpy(&components, image + kXstateHeader, sizeof components);
  components |= kX87AndSse;
  std::memcpy(image + kXstateHeader, &components, sizeof components);
}

void OnSignal(int, siginfo_t*, void* context) {
  auto* frame = static_cast<ucontext_t*>(context);
  Child& child = *g_child;
  if (child.next > 0) Record(*frame, &child.outcomes[child.next - 1]);
  if (child.next == child.count) {
    *child.finished = true;
    _exit(0);
  }
  *child.current = child.next;
  Begin(child.instances[child.next++], frame);
}

bool MapAt(uint64_t address, uint64_t size, int protection, int file, uint64_t offset) {
  void* wanted = reinterpret_cast<void*>(address);
  // Present from the start, so that a fault tells of the protection.
  return mmap(wanted, size, protection, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, file,
              static_cast<off_t>(offset)) == wanted;
}

// Maps code and memory, installs the handler and makes it run for the first time. Does not return.
[[noreturn]] void RunChild(Child* child) {
  g_child = child;
  int file = memfd_create("differential", MFD_CLOEXEC);
  constexpr uint64_t kTotal = kCodeSize + kMemorySize;
  if (file < 0 || ftruncate(file, kTotal) != 0) _exit(2);
  void* alias = mmap(nullptr, kTotal, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (alias == MAP_FAILED) _exit(3);
  auto* code = static_cast<std::byte*>(alias);
  std::fill(code, code + kCodeSize, kFiller);
  for (size_t i = 0; i < child->count; ++i) {
    const Instance& instance = child->instances[i];
    // One that reaches into the page behind has only its first bytes there.
    uint64_t at = instance.in.rip - kCode;
    std::memcpy(code + at, instance.code.data(),
                std::min<uint64_t>(instance.length, kCodeSize - at));
  }
  child->memory = code + kCodeSize;
  auto piece = [&](uint64_t address, uint64_t size, int protection) {
    return MapAt(address, size, protection, file, kCodeSize + (address - kMemory));
  };
  bool mapped = MapAt(kCode, kCodeSize, PROT_READ | PROT_EXEC, file, 0) &&
                piece(kStack, kHole - kStack, PROT_READ | PROT_WRITE) &&
                piece(kData, kDataSize, PROT_READ | PROT_WRITE) &&
                piece(kReadOnly, kUnmapped - kReadOnly, PROT_READ);
  if (!mapped) _exit(4);

  stack_t stack{};
  stack.ss_size = kSignalStack;
  stack.ss_sp =
      mmap(nullptr, kSignalStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, nullptr) != 0) _exit(5);
  struct sigaction action {};
  action.sa_sigaction = OnSignal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  for (int number : kSignals) sigdelset(&action.sa_mask, number);
  for (int number : kSignals) sigaction(number, &action, nullptr);
  raise(SIGTRAP);
  _exit(6);
}

// Waits for the child, for so long; its wait status, or -1 if it had to be killed.
int WaitFor(pid_t child) {
  int handle = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  pollfd ended{handle, POLLIN, 0};
  bool in_time = handle < 0 || poll(&ended, 1, kTimeoutSeconds * 1000) == 1;
  if (handle >= 0) close(handle);
  if (!in_time) kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  return in_time ? status : -1;
}

}  // namespace

NativeCpu::NativeCpu() {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  shared_ = memory == MAP_FAILED ? nullptr : new (memory) Shared;
}

NativeCpu::~NativeCpu() {
  if (shared_) munmap(shared_, sizeof(Shared));
}

uint64_t NativeCpu::FsBase() {
  uint64_t base = 0;
  ArchPrctl(ARCH_GET_FS, reinterpret_cast<uint64_t>(&base));
  return base;
}

std::string NativeCpu::Run(std::span<const Instance> instances, const Background& background) {
  if (!shared_) return "no memory to share with the child";
  shared_->background = background;
  shared_->count = instances.size();
  shared_->current = 0;
  shared_->finished = false;
  std::copy(instances.begin(), instances.end(), shared_->instances);
  Child child{.instances = shared_->instances,
              .outcomes = shared_->outcomes,
              .background = &shared_->background,
              .count = shared_->count,
              .current = &shared_->current,
              .finished = &shared_->finished};
  pid_t pid = fork();
  if (pid == 0) RunChild(&child);
  if (pid < 0) return "fork failed";
  int status = WaitFor(pid);
  if (shared_->finished) return "";
  std::string how = status < 0 ? "hung"
                    : WIFSIGNALED(status)
                        ? "died of signal " + std::to_string(WTERMSIG(status))
                        : "ended with status " + std::to_string(WEXITSTATUS(status));
  return "the child " + how + " at instance " + std::to_string(instances[shared_->current].number);
}

std::span<const Outcome> NativeCpu::outcomes() const {
  return std::span(shared_->outcomes, shared_->count);
}

}  // namespace trapline::differential

/* SPDX-License-Identifier: Apache-2.0 */
/* Every vCPU makes `calls` PINGs, no two nearer to each other than `every` cycles, then the first one says "calls: done" in one
 * call. All calls of a run with N vCPUs are those, N - 1 starts, and that one. */
#include "core/guest/guest.h"

enum { kMaxVcpus = 64, kReturnAddress = 8 };

static uint8_t stacks[kMaxVcpus][4096] __attribute__((aligned(16)));
static uint64_t calls, every;
static volatile uint64_t finished, wrong;

/* What a call's arguments are, by the vCPU and how many it has made. */
static void Call(uint64_t vcpu, uint64_t i) {
  if (Hypercall(TRAPLINE_HC_PING, i, vcpu, ~i, 7) != i) __atomic_add_fetch(&wrong, 1, __ATOMIC_SEQ_CST);
}

static void MakeCalls(uint64_t vcpu) {
  for (uint64_t i = 0; i < calls; ++i) {
    uint64_t made = Cycles();
    Call(vcpu, i);
    while (Cycles() - made < every) {
    }
  }
  __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
}

static void StartedMain(uint64_t number) {
  MakeCalls(number);
  for (;;) __asm__ volatile("pause");
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)low_ram;
  calls = NumberOption(command_line, "calls", 1000);
  every = NumberOption(command_line, "every", 0);
  for (uint64_t i = 1; i < vcpus && i < kMaxVcpus; ++i) {
    uint64_t stack = (uint64_t)stacks[i] + sizeof stacks[i] - kReturnAddress;
    if (Hypercall(TRAPLINE_HC_VCPU_START, i, (uint64_t)StartedMain, stack, i) != 0) return 2;
  }
  MakeCalls(0);
  while (finished != vcpus) __asm__ volatile("pause");
  Print("calls: done\n");
  return wrong != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Starts every other vCPU by hypercall; all of them hammer one hypercall site and one counter. */
#include "core/guest/guest.h"

enum { kCalls = 100000, kMaxVcpus = 64, kReturnAddress = 8 };

static uint8_t stacks[kMaxVcpus][4096] __attribute__((aligned(16)));
static volatile uint64_t counter, finished, wrong;

__attribute__((noinline)) static void Hammer(void) {
  for (uint64_t i = 0; i < kCalls; ++i) {
    if (Vmcall(TRAPLINE_HC_PING, i, 0, 0, 0) != i) __atomic_add_fetch(&wrong, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&counter, 1, __ATOMIC_SEQ_CST);
  }
  __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
}

static void StartedMain(uint64_t number) {
  if (Hypercall(TRAPLINE_HC_VCPU_NUMBER, 0, 0, 0, 0) != number) __atomic_add_fetch(&wrong, 1, __ATOMIC_SEQ_CST);
  Hammer();
  for (;;) Hypercall(TRAPLINE_HC_WAIT, 0, 0, 0, 0);
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)command_line, (void)low_ram;
  for (uint64_t i = 1; i < vcpus && i < kMaxVcpus; ++i) {
    uint64_t stack = (uint64_t)stacks[i] + sizeof stacks[i] - kReturnAddress;
    if (Hypercall(TRAPLINE_HC_VCPU_START, i, (uint64_t)StartedMain, stack, i) != 0) return 2;
  }
  Hammer();
  while (finished != vcpus) __asm__ volatile("pause");
  Print("smp: ");
  PrintNumber(vcpus);
  Print(" vCPUs made ");
  PrintNumber(counter);
  Print(" calls, ");
  PrintNumber(wrong);
  Print(" wrong\n");
  return counter == vcpus * kCalls && wrong == 0 ? 0 : 1;
}

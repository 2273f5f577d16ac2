/* SPDX-License-Identifier: Apache-2.0 */
/* Starts every other vCPU by INIT and start-up IPI; all of them hammer one hypercall site and one counter. */
#include "core/guest/guest.h"

enum { kApic = 0xfee00000, kIcrLow = 0x300, kIcrHigh = 0x310, kSpurious = 0xf0, kTrampoline = 0x8000, kCalls = 100000, kMaxVcpus = 64 };

extern const uint8_t trampoline_start[], trampoline_end[];
volatile uint64_t trampoline_stack;
volatile uint64_t ap_number;
static uint8_t stacks[kMaxVcpus][4096] __attribute__((aligned(16)));
static volatile uint64_t counter, finished, wrong, running;

static void WriteApic(uint32_t offset, uint32_t value) { *(volatile uint32_t *)(uint64_t)(kApic + offset) = value; }

__attribute__((noinline)) static void Hammer(void) {
  for (uint64_t i = 0; i < kCalls; ++i) {
    if (Vmcall(TRAPLINE_HC_PING, i, 0, 0, 0) != i) __atomic_add_fetch(&wrong, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&counter, 1, __ATOMIC_SEQ_CST);
  }
  __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
}

void ApMain(void) {
  __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
  Hammer();
  for (;;) __asm__ volatile("cli; hlt");
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)command_line, (void)low_ram;
  uint8_t *target = (uint8_t *)(uint64_t)kTrampoline;
  for (const uint8_t *at = trampoline_start; at < trampoline_end; ++at) *target++ = *at;
  WriteApic(kSpurious, 0x1ff);
  for (uint64_t i = 1; i < vcpus && i < kMaxVcpus; ++i) {
    trampoline_stack = (uint64_t)stacks[i] + sizeof stacks[i];
    WriteApic(kIcrHigh, (uint32_t)i << 24);
    WriteApic(kIcrLow, 0x4500); /* INIT */
    WriteApic(kIcrHigh, (uint32_t)i << 24);
    WriteApic(kIcrLow, 0x4600 | kTrampoline >> 12); /* start-up */
    while (running != i) __asm__ volatile("pause");
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Goes wrong as its command line says: `null`, `undefined`: a fault nobody takes. `taken-back`: the same, the upcall having been
 * taken back. `stack`, `event-stack`: an upcall that cannot be made for an exception, for an event, since there is no stack.
 * `scribble`: corrupts its info while events come, and ends well. */
#include "core/guest/guest.h"

static struct trapline_vcpu_info info __attribute__((aligned(64)));
static volatile uint64_t upcalls;

void OnUpcall(struct trapline_upcall_frame *frame) {
  if (frame->vector != TRAPLINE_UPCALL_EVENT) Exit(3);
  ++upcalls;
}

static void Register(void) { Hypercall(TRAPLINE_HC_UPCALL, (uint64_t)UpcallEntry, (uint64_t)&info, 0, 0); }

__attribute__((noinline)) static void WriteNull(void) {
  __asm__ volatile("movl $1, 0x10(%0)" : : "r"((uint64_t)0) : "memory");
}
__attribute__((noinline)) static void Undefined(void) { __asm__ volatile("ud2"); }

/* Every combination of garbage, with events coming: upcalls as they may be. */
static int Scribble(void) {
  for (uint64_t i = 0; i < 20000; ++i) {
    if (Hypercall(TRAPLINE_HC_SEND_EVENT, 0, TRAPLINE_EVENT_GUEST + i % 56, 0, 0) != 0) return 4;
    info.masked = i % 3 == 0 ? 0 : i * 0x9e3779b97f4a7c15;
    info.pending = i % 5 == 0 ? ~(uint64_t)0 : i;
    if (i % 7 == 0) Hypercall(TRAPLINE_HC_UPCALL, (uint64_t)UpcallEntry, (uint64_t)(i % 2 ? &info : 0), 0, 0);
    if (i % 11 == 0) Hypercall(TRAPLINE_HC_TIMER, i % 2 ? 1 : ~(uint64_t)0, 0, 0, 0);
  }
  Print("faults: made it\n");
  return upcalls != 0 ? 0 : 5;
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)low_ram, (void)vcpus;
  if (HasWord(command_line, "null")) WriteNull();
  if (HasWord(command_line, "undefined")) Undefined();
  Register();
  if (HasWord(command_line, "taken-back")) {
    Hypercall(TRAPLINE_HC_UPCALL, 0, 0, 0, 0);
    WriteNull();
  }
  if (HasWord(command_line, "stack")) __asm__ volatile("movl $0x200, %esp\n\tud2");
  if (HasWord(command_line, "event-stack")) {
    __asm__ volatile("movl $0x200, %%esp\n\t" TRAPLINE_SITE5 "\n1:\tpause\n\tjmp 1b"
                     :
                     : "a"(TRAPLINE_HC_SEND_EVENT), "b"(0), "c"(TRAPLINE_EVENT_GUEST)
                     : "memory");
  }
  return HasWord(command_line, "scribble") ? Scribble() : 2;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Has the bytes of `vmcall` three times in its text: in a function, in a table, and in code that only a pointer leads to and no
 * symbol names. Prints where. */
#include "core/guest/guest.h"

__asm__(
    ".text\n"
    ".balign 16\n"
    ".globl table\n"
    "table: .byte 0x11, 0x0f, 0x01, 0xc1, 0x22\n"  /* not a function: its symbol has no type */
    ".balign 16\n"
    ".globl certain\n"
    ".type certain, @function\n"
    "certain: vmcall\n"
    "ret\n"
    ".size certain, . - certain\n"
    ".balign 16\n"
    "0: nop\n"
    "1: vmcall\n"
    "ret\n"
    ".section .rodata\n"
    ".globl unnamed\n"
    "unnamed: .quad 1b\n"
    ".text\n");

extern const uint8_t table[], certain[];
extern const uint8_t *const unnamed;

static int Shows(const char *name, const uint8_t *site) {
  Print(name);
  Print(" ");
  PrintHex((uint64_t)site);
  Print("\n");
  return site[0] == 0x0f && site[1] == 0x01 && site[2] == 0xc1;
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)command_line, (void)low_ram, (void)vcpus;
  enum { kCalls = 100 };
  for (uint64_t i = 0; i < kCalls; ++i) {
    uint64_t number = TRAPLINE_HC_PING;
    __asm__ volatile("call certain" : "+a"(number) : "b"(i) : "memory");
    if (number != i) return 1;
  }
  Shows("certain", certain);
  return Shows("table", table + 1) && Shows("unnamed", unnamed) ? 0 : 2;
}

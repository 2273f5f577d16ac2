/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest guest with something to show: a few hypercalls from one site, and a greeting. */
#include "core/guest/guest.h"

static const char kText[] = "hello by hypercall\n";

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  Print("hello from a guest on ");
  PrintNumber(vcpus);
  Print(" vCPU(s) with ");
  PrintNumber(low_ram >> 20);
  Print(" MiB\n");
  uint64_t calls = NumberOption(command_line, "calls", 100);
  for (uint64_t i = 0; i < calls; ++i) {
    if (Vmcall(TRAPLINE_HC_PING, i, 0, 0, 0) != i) return 1;
  }
  Vmcall(TRAPLINE_HC_CONSOLE_WRITE, (uint64_t)kText, sizeof kText - 1, 0, 0);
  return (int)NumberOption(command_line, "status", 0);
}

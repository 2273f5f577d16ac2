/* SPDX-License-Identifier: Apache-2.0 */
/* A guest with nothing to do: it says so and waits. */
#include "core/guest/guest.h"

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)command_line, (void)low_ram, (void)vcpus;
  Print("idle\n");
  for (;;) Vmcall(TRAPLINE_HC_WAIT, 0, 0, 0, 0);
}

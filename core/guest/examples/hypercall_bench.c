/* SPDX-License-Identifier: Apache-2.0 */
/* What one hypercall costs, measured from inside: `technique=NAME runs=N calls=N` prints "NAME: n n n", cycles per call in
 * each run. How far a site may go is the host's policy; `direct` uses sites of our own making. */
#include "core/guest/guest.h"

enum { kWarmUp = 64 };

static uint64_t MeasureVmcall(uint64_t calls) {
  uint64_t start = Cycles();
  for (uint64_t i = 0; i < calls; ++i) Vmcall(TRAPLINE_HC_PING, i, 0, 0, 0);
  return (Cycles() - start) / calls;
}

static uint64_t MeasureDirect(uint64_t calls) {
  uint64_t start = Cycles();
  for (uint64_t i = 0; i < calls; ++i) DirectCall(TRAPLINE_HC_PING, i, 0, 0, 0);
  return (Cycles() - start) / calls;
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)low_ram, (void)vcpus;
  static const char *const kNames[] = {"direct", "emulate", "interrupt", "linked"};
  static const char *const kWords[] = {"technique=direct", "technique=emulate", "technique=interrupt", "technique=linked"};
  uint64_t runs = NumberOption(command_line, "runs", 5), calls = NumberOption(command_line, "calls", 100000);
  if (runs == 0 || calls == 0) return 2;
  for (int i = 0; i < 4; ++i) {
    if (!HasWord(command_line, kWords[i])) continue;
    int direct = i == 0;
    if (direct && Vmcall(TRAPLINE_HC_DIRECT_SITES, 0x200000, 0x100000, 0, 0) != 0) return 3;
    uint64_t (*measure)(uint64_t) = direct ? MeasureDirect : MeasureVmcall;
    measure(kWarmUp);
    Print(kNames[i]);
    Print(":");
    for (uint64_t run = 0; run < runs; ++run) {
      Print(" ");
      PrintNumber(measure(calls));
    }
    Print("\n");
    return 0;
  }
  Print("hypercall_bench: technique=direct|emulate|interrupt|linked is missing\n");
  return 2;
}

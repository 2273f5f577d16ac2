/* SPDX-License-Identifier: Apache-2.0 */
/* Computes what an ordinary process computes too (core/guest/compute_kernels.h): for each kernel "NAME: cycles C ns N sum
 * S", medians of runs=N (11) of rounds=N (10) each. */
#include "core/guest/compute_kernels.h"
#include "core/guest/guest.h"

static uint64_t Clock(void) { return Vmcall(TRAPLINE_HC_CLOCK, 0, 0, 0, 0); }

static void PrintFigure(const char *name, uint64_t value) {
  Print(name);
  PrintNumber(value);
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)low_ram, (void)vcpus;
  uint64_t runs = NumberOption(command_line, "runs", 11), rounds = NumberOption(command_line, "rounds", 10);
  if (runs == 0 || runs > kComputeMaxRuns || rounds == 0) return 2;
  for (int i = 0; i < kComputeKernels; ++i) {
    uint64_t sum, clock = Clock(), start = Cycles();
    uint64_t median = ComputeMedian(&kComputeKernelTable[i], runs, rounds, &sum);
    uint64_t cycles = Cycles() - start;
    uint64_t microseconds = (Clock() - clock) / 1000;
    Print(kComputeKernelTable[i].name);
    PrintFigure(": cycles ", median);
    PrintFigure(" ns ", cycles ? median * microseconds / (cycles / 1000 ? cycles / 1000 : 1) : 0);
    PrintFigure(" sum ", sum);
    Print("\n");
  }
  return 0;
}

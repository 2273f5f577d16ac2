/* SPDX-License-Identifier: Apache-2.0 */
/* What core/guest/examples/compute.c computes, as an ordinary process: `compute_native [RUNS [ROUNDS]]`. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/guest/compute_kernels.h"

static uint64_t Nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv) {
  uint64_t runs = argc > 1 ? strtoull(argv[1], NULL, 10) : 11, rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 10;
  if (runs == 0 || runs > kComputeMaxRuns || rounds == 0) return 2;
  for (int i = 0; i < kComputeKernels; ++i) {
    uint64_t sum, clock = Nanoseconds(), start = ComputeCycles();
    uint64_t median = ComputeMedian(&kComputeKernelTable[i], runs, rounds, &sum);
    uint64_t cycles = ComputeCycles() - start;
    uint64_t microseconds = (Nanoseconds() - clock) / 1000;
    printf("%s: cycles %llu ns %llu sum %llu\n", kComputeKernelTable[i].name, (unsigned long long)median,
           (unsigned long long)(cycles ? median * microseconds / (cycles / 1000 ? cycles / 1000 : 1) : 0),
           (unsigned long long)sum);
  }
  return 0;
}

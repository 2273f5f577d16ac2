/* SPDX-License-Identifier: Apache-2.0 */
/* What guest code and an ordinary process compute alike, to see whether a guest computes as fast:
 * an integer, two memory and a branch benchmark. Plain freestanding C, so that both compile the
 * very same text (core/guest/examples/compute.c, tests/bench/compute_native.c); no hypercall, no
 * system call, and no pointer in what is added up, so that the sums are the same wherever it runs.
 * Code and arrays are aligned, so that where a linker puts them makes no difference.
 * Not thread-safe: the arrays are static. */
#ifndef TRAPLINE_CORE_GUEST_COMPUTE_KERNELS_H_
#define TRAPLINE_CORE_GUEST_COMPUTE_KERNELS_H_

#include <stdint.h>

enum {
  kComputeLargeWords = 8 << 17, /* 8 MiB: beyond the caches of a core, a TLB's worth of pages */
  kComputeSmallWords = 8 << 10, /* 64 KiB: within them */
  kComputeKernels = 4,
  kComputeMaxRuns = 101
};

static uint64_t compute_large[kComputeLargeWords] __attribute__((aligned(4096)));
static uint64_t compute_small[kComputeSmallWords] __attribute__((aligned(4096)));

static inline uint64_t ComputeNext(uint64_t x) { /* Marsaglia's xorshift64 */
  x ^= x << 13;
  x ^= x >> 7;
  return x ^ x << 17;
}

/* Shifts, multiplications, and a division in each step. */
static __attribute__((noinline, aligned(64))) uint64_t ComputeInteger(uint64_t rounds) {
  uint64_t x = 88172645463325252u, sum = 0;
  for (uint64_t i = 0; i < rounds * 100000; ++i) {
    x = ComputeNext(x);
    sum = (sum << 5 | sum >> 59) ^ x * 0x9e3779b97f4a7c15u;
    sum += (x >> 32) / ((x & 0xffff) + 1);
  }
  return sum;
}

/* Writes all words in order, then follows a chain of loads from place to place. */
static inline uint64_t ComputeMemory(uint64_t* words, uint64_t count, uint64_t rounds) {
  uint64_t sum = 0, at = 0;
  for (uint64_t i = 0; i < count; ++i) words[i] = i;
  for (uint64_t round = 0; round < rounds; ++round) {
    for (uint64_t i = 0; i < count; ++i) words[i] = words[i] * 0x5851f42d4c957f2du + i;
    for (uint64_t i = 0; i < count / 8; ++i) {
      at = (words[at] ^ words[at] >> 29 ^ i) & (count - 1);
      sum += at;
    }
  }
  return sum;
}

static __attribute__((noinline, aligned(64))) uint64_t ComputeMemoryLarge(uint64_t rounds) {
  return ComputeMemory(compute_large, kComputeLargeWords, (rounds + 3) / 4);
}

static __attribute__((noinline, aligned(64))) uint64_t ComputeMemorySmall(uint64_t rounds) {
  return ComputeMemory(compute_small, kComputeSmallWords, rounds * 64);
}

static __attribute__((noinline, aligned(64))) uint64_t ComputeStep(uint64_t x, uint64_t sum) {
  return sum ^ (x | 1);
}

/* Branches that nobody can foresee, a jump table, and calls. */
static __attribute__((noinline, aligned(64))) uint64_t ComputeBranch(uint64_t rounds) {
  uint64_t x = 0x2545f4914f6cdd1du, sum = 0;
  for (uint64_t i = 0; i < rounds * 50000; ++i) {
    x = ComputeNext(x);
    switch (x >> 60 & 7) {
      case 0:
        sum += x;
        break;
      case 1:
        sum -= x >> 3;
        break;
      case 2:
        sum = ComputeStep(x, sum);
        break;
      case 3:
        sum ^= x << 1;
        break;
      case 4:
        if (x & 0x100)
          sum += 7;
        else
          sum *= 3;
        break;
      case 5:
        sum = sum >> 1 | sum << 63;
        break;
      case 6:
        for (uint64_t n = x & 15; n; n &= n - 1) sum += n;
        break;
      default:
        sum = ComputeStep(sum, x);
        break;
    }
  }
  return sum;
}

struct ComputeKernel {
  const char* name;
  uint64_t (*run)(uint64_t rounds);
};
static const struct ComputeKernel kComputeKernelTable[kComputeKernels] = {
    {"integer", ComputeInteger},
    {"memory-8M", ComputeMemoryLarge},
    {"memory-64K", ComputeMemorySmall},
    {"branch", ComputeBranch}};

static inline uint64_t ComputeCycles(void) {
  uint32_t low, high;
  __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
  return (uint64_t)high << 32 | low;
}

/* The median cycles of runs (1 to kComputeMaxRuns) after one that warms up; *sum: what each run
 * gave, or 0 should two have differed. */
static inline uint64_t ComputeMedian(const struct ComputeKernel* kernel, uint64_t runs,
                                     uint64_t rounds, uint64_t* sum) {
  static uint64_t cycles[kComputeMaxRuns];
  *sum = kernel->run(rounds);
  for (uint64_t run = 0; run < runs; ++run) {
    uint64_t start = ComputeCycles(), at = run;
    uint64_t again = kernel->run(rounds);
    uint64_t taken = ComputeCycles() - start;
    if (again != *sum) *sum = 0;
    for (; at > 0 && cycles[at - 1] > taken; --at) cycles[at] = cycles[at - 1];
    cycles[at] = taken;
  }
  return cycles[runs / 2];
}

#endif

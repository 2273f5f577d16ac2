/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of many hypercall sites, up to 100,000: `sites=N` calls the first N, one behind the other, `rounds=N` times.
 * Then, for `seconds=N`, it goes on with the first `busy=N` alone, as fast as it can or at `rate=N` calls a second, and
 * says how many calls it has made in all. */
#include "core/guest/guest.h"

enum { kSites = 100000, kSiteSize = 8, kTick = 1000 };

/* PING answers with RBX, so RAX is the number of the next call as well. Behind each site stands an instruction over
 * which a jump can be punned (hypercall_bench.c). */
extern const char first_site[];
__asm__(
    ".text\n.globl AllSites\n.type AllSites, @function\nAllSites:\n.globl first_site\nfirst_site:\n"
    ".rept 100000\n vmcall\n .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n.endr\n ret\n.size AllSites, . - AllSites\n");

/* The last `count` of the sites: they are called by entering at the first of them. */
static void CallSites(uint64_t count) {
  uint64_t number = TRAPLINE_HC_PING, entry = (uint64_t)first_site + (kSites - count) * kSiteSize;
  __asm__ volatile("call *%1" : "+a"(number) : "r"(entry), "b"(TRAPLINE_HC_PING) : "memory");
}

static uint64_t Nanoseconds(void) { return Vmcall(TRAPLINE_HC_CLOCK, 0, 0, 0, 0); }

static uint64_t CyclesPerSecond(void) {
  enum { kMeasured = 20000000 };
  uint64_t clock = Nanoseconds(), start = Cycles();
  while (Cycles() - start < kMeasured) {
  }
  uint64_t passed = Cycles() - start;
  return passed * 1000 / ((Nanoseconds() - clock) / 1000000 + 1);
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)low_ram, (void)vcpus;
  uint64_t sites = NumberOption(command_line, "sites", kSites), rounds = NumberOption(command_line, "rounds", 1);
  uint64_t busy = NumberOption(command_line, "busy", 10), rate = NumberOption(command_line, "rate", 0);
  uint64_t seconds = NumberOption(command_line, "seconds", 0), calls = 0;
  if (sites == 0 || sites > kSites || busy == 0 || busy > kSites) {
    Print("many_sites: sites and busy must be 1 to 100000\n");
    return 2;
  }
  for (uint64_t i = 0; i < rounds; ++i, calls += sites) CallSites(sites);
  Print("called ");
  PrintNumber(calls);
  Print("\n");
  uint64_t frequency = CyclesPerSecond(), start = Cycles(), next = start, end = start + seconds * frequency;
  uint64_t interval = rate ? frequency * busy / rate : 0;
  while (Cycles() < end) {
    for (uint64_t i = 0; i < kTick && next <= end; ++i, calls += busy) {
      while (Cycles() < next) {
      }
      CallSites(busy);
      next = interval ? next + interval : Cycles();
    }
  }
  Print("made ");
  PrintNumber(calls);
  Print(" calls at these sites\n");
  return 0;
}

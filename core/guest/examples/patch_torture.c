/* SPDX-License-Identifier: Apache-2.0 */
/* Tries hard to break the patcher: reads rewritten sites, overwrites them whole and in part, copies them, jumps into them, puts one
 * across a page boundary. Prints PASS or FAIL for each; the exit status is the number of failures. */
#include "core/guest/guest.h"

/* In a segment of its own (guest.ld): the guest's data is not executable everywhere. */
static uint8_t page[3 * 4096] __attribute__((aligned(4096), section(".rwx")));
static int failures;

static void Check(const char *what, int good) {
  Print(good ? "PASS: " : "FAIL: ");
  Print(what);
  Print("\n");
  if (!good) ++failures;
}

/* vmcall; ret at `at`. */
static uint8_t *PutSite(uint8_t *at) {
  at[0] = 0x0f, at[1] = 0x01, at[2] = 0xc1, at[3] = 0xc3;
  return at;
}
static uint64_t CallAt(const void *site, uint64_t number, uint64_t argument) {
  __asm__ volatile("call *%[site]"
                   : "+a"(number)
                   : [site] "r"(site), "b"(argument), "c"(0), "d"(0), "S"(0)
                   : "memory", "cc");
  return number;
}
static int CallsWork(const void *site, int calls) {
  for (int i = 0; i < calls; ++i) {
    if (CallAt(site, TRAPLINE_HC_PING, (uint64_t)i) != (uint64_t)i) return 0;
  }
  return 1;
}
static int ReadsAsVmcall(const uint8_t *site) { return site[0] == 0x0f && site[1] == 0x01 && site[2] == 0xc1; }

enum { kHot = 200 };

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)command_line, (void)low_ram, (void)vcpus;
  uint8_t *site = PutSite(page + 64);
  Check("a site that gets hot", CallsWork(site, kHot));
  Check("it reads as the guest wrote it", ReadsAsVmcall(site));
  Check("by a wider read too", *(volatile uint32_t *)site == 0xc3c1010f);

  uint8_t *copy = page + 256;
  for (int i = 0; i < 4; ++i) copy[i] = site[i];
  Check("a copy of it works on its own", CallsWork(copy, kHot));

  site[0] = 0xb0, site[1] = 0x2a, site[2] = 0x90; /* mov $42, %al; nop */
  Check("overwritten: the new code runs", CallAt(site, 0, 0) == 42);
  PutSite(site);
  Check("put back: a site again", CallsWork(site, kHot));

  /* A debugger's breakpoint: only the first byte changes, and changes back. */
  uint8_t first = *(volatile uint8_t *)site;
  site[0] = 0xc3;
  Check("its first byte replaced by ret", CallAt(site, 7, 0) == 7 && site[1] == 0x01 && site[2] == 0xc1);
  site[0] = first;
  Check("and restored", CallsWork(site, kHot));

  /* 01 c1 is add %eax, %ecx; then ret. */
  uint64_t sum = 5;
  __asm__ volatile("call *%[middle]" : "+c"(sum) : [middle] "r"(site + 1), "a"(4) : "memory", "cc");
  Check("a jump into its middle finds the original bytes", sum == 9);
  Check("which leaves it working", CallsWork(site, kHot));

  uint8_t *across = PutSite(page + 2 * 4096 - 1);
  Check("a site across two pages", CallsWork(across, kHot) && ReadsAsVmcall(across));
  uint8_t *across2 = PutSite(page + 4096 - 2);
  Check("another one", CallsWork(across2, kHot) && ReadsAsVmcall(across2));

  uint8_t *alias_site = PutSite(page + 512);
  Check("vmmcall is a site as well", (alias_site[2] = 0xd9, CallsWork(alias_site, kHot)));
  Check("an unknown number", CallAt(site, 999999, 0) == (uint64_t)-KVM_ENOSYS);

  for (int i = 0; i < kHot; ++i) {
    PutSite(page + 1024);
    if (!CallsWork(page + 1024, 3)) {
      Check("written anew again and again", 0);
      return failures;
    }
  }
  Check("written anew again and again", 1);
  Print(failures ? "patch_torture: failed\n" : "patch_torture: all passed\n");
  return failures;
}

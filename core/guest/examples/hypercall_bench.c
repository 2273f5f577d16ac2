/* SPDX-License-Identifier: Apache-2.0 */
/* What one hypercall costs, measured from inside: `technique=NAME runs=N calls=N` prints "NAME: n n n", cycles per call in
 * each run, and "khz: n", how fast the cycles pass by the host's clock. A run is the median of batches, since the host
 * may have better to do at times. How far a site may go is the host's policy; `direct` uses sites of our own making.
 *
 * site=5 (the rule) or site=3: with room for a jump behind the hypercall, or without. The instruction behind a site of
 * three bytes is one over which a jump can be punned: its first two bytes are the upper half of the jump's
 * displacement, and 0x1f0f0000 from here there is nothing.
 * per=N: cycles of N calls (1), where one takes but a few.
 * call=ping (the rule): answered with its argument. call=host: KICK_CPU of an APIC id that there is not, the cheapest
 * call that only the host can answer. call=posted: CONSOLE_PUT of no bytes. */
#include "core/guest/guest.h"

#ifndef TRAPLINE_HC_CONSOLE_PUT
#define TRAPLINE_HC_CONSOLE_PUT 4110
#endif
#ifndef TRAPLINE_SITE5
#define TRAPLINE_SITE5 "vmcall\n\t.byte 0x66, 0x90"
#endif

enum { kWarmUp = 64, kBatch = 1000, kMaxBatches = 4096, kNoSuchApicId = 0xffff };

TRAPLINE_HYPERCALL(FiveByteCall, TRAPLINE_SITE5)
TRAPLINE_HYPERCALL(ThreeByteCall, "vmcall\n\tnopl (%%rax)")

/* number(RBX, RCX), calls times: cycles of all. */
typedef uint64_t Loop(uint64_t number, uint64_t b, uint64_t c, uint64_t calls);
#define LOOP(name, call)                                                                        \
  static __attribute__((noinline)) uint64_t name(uint64_t number, uint64_t b, uint64_t c,       \
                                                 uint64_t calls) {                              \
    uint64_t start = Cycles();                                                                  \
    for (uint64_t i = 0; i < calls; ++i) call(number, b, c, 0, 0);                              \
    return Cycles() - start;                                                                    \
  }
LOOP(FiveByteLoop, FiveByteCall)
LOOP(ThreeByteLoop, ThreeByteCall)
LOOP(DirectLoop, DirectCall)

static uint64_t batches[kMaxBatches];

static uint64_t Median(uint64_t *values, uint64_t count) {
  for (uint64_t gap = count / 2; gap; gap /= 2) {
    for (uint64_t i = gap; i < count; ++i) {
      uint64_t value = values[i], at = i;
      for (; at >= gap && values[at - gap] > value; at -= gap) values[at] = values[at - gap];
      values[at] = value;
    }
  }
  return values[count / 2];
}

/* The calls that `calls` asks for, at least, in batches: cycles of `per` calls. */
static uint64_t Run(Loop *loop, uint64_t number, uint64_t b, uint64_t c, uint64_t calls, uint64_t per) {
  uint64_t batch = calls < kBatch ? calls : kBatch, count = calls / batch;
  if (count > kMaxBatches) count = kMaxBatches, batch = calls / count;
  for (uint64_t i = 0; i < count; ++i) batches[i] = loop(number, b, c, batch);
  return (Median(batches, count) * per + batch / 2) / batch;
}

static const char *TechniqueOf(const char *command_line) {
  static const char *const kNames[] = {"direct", "emulate", "interrupt", "linked"};
  static const char *const kWords[] = {"technique=direct", "technique=emulate", "technique=interrupt", "technique=linked"};
  for (int i = 0; i < 4; ++i) {
    if (HasWord(command_line, kWords[i])) return kNames[i];
  }
  return 0;
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)low_ram, (void)vcpus;
  uint64_t runs = NumberOption(command_line, "runs", 5), calls = NumberOption(command_line, "calls", 100000);
  uint64_t per = NumberOption(command_line, "per", 1);
  const char *technique = TechniqueOf(command_line);
  if (!technique || runs == 0 || calls == 0) {
    Print("hypercall_bench: technique=direct|emulate|interrupt|linked is missing, or runs or calls is 0\n");
    return 2;
  }
  int direct = HasWord(command_line, "technique=direct");
  if (direct && Vmcall(TRAPLINE_HC_DIRECT_SITES, 0x200000, 0x100000, 0, 0) != 0) return 3;
  Loop *loop = direct ? DirectLoop : NumberOption(command_line, "site", 5) == 3 ? ThreeByteLoop : FiveByteLoop;
  uint64_t number = TRAPLINE_HC_PING, c = 0;
  if (HasWord(command_line, "call=host")) number = KVM_HC_KICK_CPU, c = kNoSuchApicId;
  if (HasWord(command_line, "call=posted")) {
    number = TRAPLINE_HC_CONSOLE_PUT;
    if (Vmcall(number, 0, 0, 0, 0) != 0) {
      Print("hypercall_bench: this VMM does not serve posted calls\n");
      return 4;
    }
  }
  loop(number, 0, c, kWarmUp);
  uint64_t clock = Vmcall(TRAPLINE_HC_CLOCK, 0, 0, 0, 0), start = Cycles();
  Print(technique);
  Print(":");
  for (uint64_t run = 0; run < runs; ++run) {
    Print(" ");
    PrintNumber(Run(loop, number, 0, c, calls, per));
  }
  clock = Vmcall(TRAPLINE_HC_CLOCK, 0, 0, 0, 0) - clock;
  Print("\nkhz: ");
  PrintNumber(clock ? (Cycles() - start) * 1000 / (clock / 1000 ? clock / 1000 : 1) : 0);
  Print("\n");
  return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* From a seed, a sequence of hypercalls and privileged instructions, with random values in every register and flag; after each
 * a line with a hash of what it left: registers, flags, red zone, memory. The same on every engine, at every technique.
 *
 * Options: seed=N, count=N, technique=T (what TRAPLINE_HC_TECHNIQUE is asked for), nocpuid (the host cannot make `cpuid`
 * fault, so that it shows the host's leaves).
 *
 * What is not in it, since engines differ there by design: RDTSC and IA32_TSC (the host's own time on `direct`), segment
 * selectors and RFLAGS.IF as PUSHF shows it (a guest in ring 3 has the host's), CPUID leaves but the hypervisor's (`soft` has a
 * CPU of its own). Clock, entropy and the time of day are only looked at for plausibility. */
#include "core/guest/guest.h"

/* ---- One step: all registers from `in`, one routine, all registers into `out` ---- */

enum { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi, kRegisters = 16 };
struct State {
  uint64_t gpr[kRegisters], flags;
};
struct State in, out;
uint64_t own_stack;
const void *target;

void Step(void);

__asm__(
    ".text\n"
    ".globl Step\n"
    ".type Step, @function\n"
    "Step:\n"
    "  push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
    "  mov %rsp, own_stack\n"
    "  pushq in+128\n popfq\n"
    "  mov in+0, %rax\n mov in+8, %rcx\n mov in+16, %rdx\n mov in+24, %rbx\n"
    "  mov in+32, %rsp\n mov in+40, %rbp\n mov in+48, %rsi\n mov in+56, %rdi\n"
    "  mov in+64, %r8\n mov in+72, %r9\n mov in+80, %r10\n mov in+88, %r11\n"
    "  mov in+96, %r12\n mov in+104, %r13\n mov in+112, %r14\n mov in+120, %r15\n"
    "  jmp *target\n"
    "StepDone:\n"
    "  mov %rax, out+0\n mov %rcx, out+8\n mov %rdx, out+16\n mov %rbx, out+24\n"
    "  mov %rsp, out+32\n mov %rbp, out+40\n mov %rsi, out+48\n mov %rdi, out+56\n"
    "  mov %r8, out+64\n mov %r9, out+72\n mov %r10, out+80\n mov %r11, out+88\n"
    "  mov %r12, out+96\n mov %r13, out+104\n mov %r14, out+112\n mov %r15, out+120\n"
    "  mov own_stack, %rsp\n"
    "  pushfq\n popq out+128\n"
    "  cld\n"
    "  pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
    "  ret\n"
    ".size Step, . - Step\n");

/* Routines are functions by their symbols, so that an engine that looks for sites finds these. */
#define ROUTINE(name, code)                                                        \
  void name(void);                                                                 \
  __asm__(".text\n.balign 16\n.globl " #name "\n.type " #name ", @function\n" #name \
          ":\n" code "\n jmp StepDone\n.size " #name ", . - " #name "\n")

ROUTINE(site5, TRAPLINE_SITE5);
ROUTINE(site5b, "nop\n" TRAPLINE_SITE5);
/* What stands behind three bytes decides whether and how a punned jump fits (core/engine/direct/jump_plan.h): */
#define SITES(name, instruction)                                               \
  ROUTINE(name##_jump, instruction);                                           \
  ROUTINE(name##_plain, instruction "\n.byte 0x0f, 0x1f, 0x40, 0x00");         \
  ROUTINE(name##_prefix, instruction "\n.byte 0x90, 0x90, 0x0f, 0x1f, 0x00");  \
  ROUTINE(name##_prefixes, instruction "\n.byte 0x90, 0x90, 0x90, 0x0f, 0x1f, 0x00"); \
  ROUTINE(name##_nowhere, instruction "\n.byte 0x90, 0x90, 0x90, 0x90, 0x90");
SITES(vmcall, "vmcall")
SITES(vmmcall, "vmmcall")
__asm__("direct_start:");
ROUTINE(direct, "int $0x1f");
ROUTINE(direct_nop, "int $0x1f\n nop");
__asm__("direct_end:");
extern const uint8_t direct_start[], direct_end[];

ROUTINE(in8, "inb %dx");
ROUTINE(in16, "inw %dx");
ROUTINE(in32, "inl %dx");
ROUTINE(in_fixed, "inb $0x7f");
ROUTINE(out8, "outb %dx");
ROUTINE(clear_if, "cli");
ROUTINE(set_if, "sti\n cli");
ROUTINE(from_cr0, "mov %cr0, %rax");
ROUTINE(from_cr2, "mov %cr2, %r9");
ROUTINE(from_cr3, "mov %cr3, %rbp");
ROUTINE(from_cr4, "mov %cr4, %r15");
ROUTINE(from_cr8, "mov %cr8, %rdi");
ROUTINE(to_cr0, "mov %cr0, %r8\n mov %r8, %cr0");
ROUTINE(to_cr2, "mov %r12, %cr2");
ROUTINE(to_cr8, "mov %rbx, %cr8");
ROUTINE(read_msr, "rdmsr");
ROUTINE(write_msr, "wrmsr");
ROUTINE(cpuid, "cpuid");

/* ---- Memory that calls touch ---- */

enum { kScratchWords = 512, kStackWords = 64, kLine = 64 };
static uint64_t scratch[kScratchWords] __attribute__((aligned(64)));
static uint64_t stack[kStackWords] __attribute__((aligned(64)));
static struct trapline_vcpu_info info __attribute__((aligned(64)));
static char text[kLine];
static uint64_t ram_end, state, technique, last_clock, last_entropy;
static int registered, wrong;

static uint64_t Random(void) {
  state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
  return state * 0x2545f4914f6cdd1d;
}
static uint64_t Below(uint64_t end) { return Random() % end; }

static void Complain(const char *what) {
  Print("FAIL: ");
  Print(what);
  Print("\n");
  wrong = 1;
}

static void OnNobodysUpcall(void) {
  Print("FAIL: an upcall that was masked\n");
  Exit(3);
}

/* Mostly where it may be; else at an edge, or nowhere. */
static uint64_t Pointer(void) {
  const uint64_t edges[] = {0, 0xfffc, 0x9fffc, 0xa0000, 0xdfffc, ram_end - 8, ram_end - 1, ram_end, ram_end + 1,
                            (uint64_t)1 << 32, (uint64_t)1 << 47, ~(uint64_t)0, ~(uint64_t)7};
  if (Below(3) == 0) return edges[Below(sizeof edges / sizeof *edges)];
  return (uint64_t)scratch + Below(sizeof scratch / 2);
}
static uint64_t BadPointer(void) {
  const uint64_t bad[] = {ram_end - 8, ram_end, (uint64_t)1 << 32, (uint64_t)1 << 47, ~(uint64_t)10};
  return bad[Below(sizeof bad / sizeof *bad)];
}

/* ---- Hypercalls ---- */

static void Arguments(uint64_t a, uint64_t b) { in.gpr[kRbx] = a, in.gpr[kRcx] = b; }

static uint64_t UnknownNumber(void) {
  const uint64_t numbers[] = {Below(5), 12 + Below(4000), 4111 + Below(1000), Random() | (uint64_t)1 << 40,
                              (uint64_t)1 << 32 | TRAPLINE_HC_PING, ~(uint64_t)0, (uint64_t)-TRAPLINE_HC_PING};
  return numbers[Below(sizeof numbers / sizeof *numbers)];
}

static void PlanUpcall(void) {
  const uint64_t noncanonical = (uint64_t)1 << 47;
  switch (Below(6)) {
    case 0:
      return Arguments(0, 0);
    case 1:
      return Arguments((uint64_t)OnNobodysUpcall, (uint64_t)&info + 8);
    case 2:
      return Arguments(noncanonical, (uint64_t)&info);
    case 3:
      return Arguments((uint64_t)OnNobodysUpcall, (ram_end + 63) & ~(uint64_t)63);
    default:
      return Arguments((uint64_t)OnNobodysUpcall, (uint64_t)&info);
  }
}

/* Arguments that are random already stay so where any will do. */
static void PlanCall(void) {
  static const uint64_t numbers[] = {
      KVM_HC_KICK_CPU,          KVM_HC_CLOCK_PAIRING,  KVM_HC_SEND_IPI,           KVM_HC_SCHED_YIELD,
      TRAPLINE_HC_PING,         TRAPLINE_HC_PING,      TRAPLINE_HC_CONSOLE_WRITE, TRAPLINE_HC_CONSOLE_WRITE,
      TRAPLINE_HC_CLOCK,        TRAPLINE_HC_WAIT,      TRAPLINE_HC_VCPU_NUMBER,   TRAPLINE_HC_ENTROPY,
      TRAPLINE_HC_DIRECT_SITES, TRAPLINE_HC_TECHNIQUE, TRAPLINE_HC_UPCALL,        TRAPLINE_HC_TIMER,
      TRAPLINE_HC_VCPU_START,   TRAPLINE_HC_SEND_EVENT, TRAPLINE_HC_CONSOLE_READ, TRAPLINE_HC_CONSOLE_PUT,
      TRAPLINE_HC_CONSOLE_PUT};
  const uint64_t known = sizeof numbers / sizeof *numbers, choice = Below(known + 3);
  in.gpr[kRax] = choice < known ? numbers[choice] : UnknownNumber();
  switch (in.gpr[kRax]) {
    case KVM_HC_CLOCK_PAIRING:
      return Arguments(Below(2) ? (uint64_t)scratch + Below(256) : BadPointer(), Below(4) ? 0 : Random());
    case KVM_HC_SEND_IPI: /* to vCPUs that are not there */
      in.gpr[kRdx] = 1 + (Random() >> 20);
      return;
    case TRAPLINE_HC_CONSOLE_WRITE:
    case TRAPLINE_HC_CONSOLE_READ:
      return Arguments(Pointer(), Below(8) ? Below(24) : 4090 + Below(16));
    case TRAPLINE_HC_WAIT: /* it must not sleep */
      if (!registered || !info.pending) in.gpr[kRax] = TRAPLINE_HC_PING;
      return;
    case TRAPLINE_HC_DIRECT_SITES:
      return Arguments((uint64_t)scratch, Below(2) ? 0 : Below(2) ? ~(uint64_t)0 : 8);
    case TRAPLINE_HC_TECHNIQUE:
      return Arguments(Below(2) ? technique : 4 + (Random() >> 3), 0);
    case TRAPLINE_HC_UPCALL:
      return PlanUpcall();
    case TRAPLINE_HC_TIMER:
      return Arguments(Below(3) ? ~(uint64_t)0 - Below(2) * ((uint64_t)1 << 63) : 0, 0);
    case TRAPLINE_HC_VCPU_START:
      return Arguments(Below(2) * Random(), (uint64_t)Step + Below(2) * ((uint64_t)1 << 47));
    case TRAPLINE_HC_SEND_EVENT:
      return Arguments(Below(4) ? 0 : Random(), Below(72));
    case TRAPLINE_HC_CONSOLE_PUT:
      in.gpr[kRcx] = Below(4) ? Below(10) : Random();
      return;
  }
}

/* Takes what may differ out of the result, once it was found plausible. */
static void Normalise(void) {
  switch (in.gpr[kRax]) {
    case TRAPLINE_HC_CLOCK:
      if (out.gpr[kRax] < last_clock) Complain("the clock went back");
      last_clock = out.gpr[kRax];
      out.gpr[kRax] = 0;
      return;
    case TRAPLINE_HC_ENTROPY:
      if (out.gpr[kRax] == last_entropy) Complain("the same entropy twice");
      last_entropy = out.gpr[kRax];
      out.gpr[kRax] = 0;
      return;
    case KVM_HC_CLOCK_PAIRING:
      if (out.gpr[kRax] != 0) return;
      if (*(volatile uint64_t *)in.gpr[kRbx] < 1500000000) Complain("the time of day is long ago");
      for (int i = 0; i < 64; ++i) ((volatile uint8_t *)in.gpr[kRbx])[i] = 0;
      return;
    case TRAPLINE_HC_UPCALL:
      if (out.gpr[kRax] == 0) registered = in.gpr[kRbx] != 0;
  }
}

/* ---- Privileged instructions ---- */

static void PlanPort(void) {
  enum { kScratchRegister = 0x3ff, kLineStatus = 0x3fd, kNothing = 0x1234 };
  static const uint16_t ports[] = {kScratchRegister, kScratchRegister, kLineStatus, kNothing};
  uint16_t port = target == (const void *)out8 ? kScratchRegister : ports[Below(4)];
  if (target == (const void *)in16 || target == (const void *)in32) port = kNothing;
  in.gpr[kRdx] = (in.gpr[kRdx] & ~(uint64_t)0xffff) | port;
}

static void PlanMsr(int write) {
  enum { kEfer = 0xc0000080, kFsBase = 0xc0000100, kGsBase = 0xc0000101, kKernelGsBase = 0xc0000102 };
  static const uint32_t msrs[] = {kFsBase, kGsBase, kKernelGsBase, kEfer};
  uint32_t msr = msrs[Below(write ? 3 : 4)];
  in.gpr[kRcx] = (in.gpr[kRcx] & ~(uint64_t)0xffffffff) | msr;
  if (write) in.gpr[kRdx] &= 0xffffffff00003fff; /* canonical */
}

static void PlanPrivileged(int with_cpuid) {
  static void (*const routines[])(void) = {in8,      in16,     in32,     in_fixed, out8,   out8,     clear_if, set_if,    from_cr0, from_cr2,
                                           from_cr3, from_cr4, from_cr8, to_cr0,   to_cr2, to_cr8,   read_msr, write_msr, write_msr, cpuid};
  const uint64_t routine = Below(sizeof routines / sizeof *routines - !with_cpuid);
  target = (const void *)routines[routine];
  if (target == (const void *)read_msr || target == (const void *)write_msr) PlanMsr(target == (const void *)write_msr);
  if (routine <= 5) PlanPort();
  if (target == (const void *)to_cr8) in.gpr[kRbx] &= 15;
  if (target == (const void *)cpuid)
    in.gpr[kRax] = (in.gpr[kRax] & ~(uint64_t)0xffffffff) | (Below(2) ? 0x40000000 : TRAPLINE_CPUID_LEAF) | Below(2);
}

/* ---- The sequence ---- */

static uint64_t Mix(uint64_t hash, const void *words, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes / 8; ++i) {
    hash = (hash ^ ((const volatile uint64_t *)words)[i]) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 29;
  }
  return hash;
}

static void Randomise(void) {
  const uint64_t flags = 0xcd5; /* status flags and DF */
  for (int i = 0; i < kRegisters; ++i) in.gpr[i] = Random();
  in.flags = (Random() & flags) | 2;
  for (int i = 0; i < kStackWords; ++i) stack[i] = Random();
  /* A hypercall needs no stack, so that now and then it has none. */
  if (Below(4)) in.gpr[kRsp] = (uint64_t)(stack + kStackWords / 2) + Below(8);
}

static char *Append(char *to, uint64_t value) {
  for (int i = 60; i >= 0; i -= 4) *to++ = "0123456789abcdef"[value >> i & 15];
  *to++ = ' ';
  return to;
}

static void Report(uint64_t index, uint64_t what) {
  out.flags &= 0xcd5;
  uint64_t hash = Mix(Mix(index, &out, sizeof out), stack, sizeof stack);
  hash = Mix(Mix(hash, scratch, sizeof scratch), &info, sizeof info);
  char *to = Append(Append(Append(text, index), what), hash);
  to[-1] = '\n', *to = 0;
  Print(text);
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)vcpus;
  static void (*const sites[])(void) = {site5,          site5b,          vmcall_jump,     vmcall_plain,   vmcall_prefix,    vmcall_prefixes,
                                        vmcall_nowhere, vmmcall_jump,    vmmcall_plain,   vmmcall_prefix, vmmcall_prefixes, vmmcall_nowhere,
                                        direct,         direct_nop};
  const uint64_t site_count = sizeof sites / sizeof *sites, count = NumberOption(command_line, "count", 1000);
  const int with_cpuid = !HasWord(command_line, "nocpuid");
  ram_end = low_ram;
  technique = NumberOption(command_line, "technique", TRAPLINE_TECHNIQUE_LINKED);
  state = NumberOption(command_line, "seed", 1) * 2 + 1;
  info.masked = 1;
  for (int i = 0; i < kScratchWords; ++i) scratch[i] = 0x6867666564636261 + (uint64_t)i % 16;
  Hypercall(TRAPLINE_HC_DIRECT_SITES, (uint64_t)direct_start, (uint64_t)(direct_end - direct_start), 0, 0);
  for (uint64_t i = 0; i < count; ++i) {
    Randomise();
    if (Below(4) == 0) {
      PlanPrivileged(with_cpuid);
      Step();
      Report(i, (uint64_t)target);
      continue;
    }
    target = (const void *)sites[Below(site_count)];
    PlanCall();
    const uint64_t number = in.gpr[kRax];
    Step();
    Normalise();
    Report(i, number);
    if (Below(16) == 0) info.pending = 0;
  }
  Print(wrong ? "sequence: implausible\n" : "sequence: done\n");
  return wrong;
}

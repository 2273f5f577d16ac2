/* SPDX-License-Identifier: Apache-2.0 */
/* Attacks what engine `direct` runs it on, as the first word of its command line says; or behaves (`good`). It says "hostile: stood N" and switches off
 * if it could go on, N being how many of its attempts became a fault of its own. Its engine has every right to end it before. */
/* Its numbers alone: the rest is C++. */
#define __ASSEMBLER__
#include "core/engine/direct/layout.h"
#undef __ASSEMBLER__
#include "core/guest/guest.h"

enum { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi, kR8, kR9, kR10, kR11, kGprs = 16 };
enum { kFutex = 202, kSigreturn = 15, kExitGroup = 231, kUprobe = 336, kNumbers = 512, kWake = 1 };
enum { kDebug = 1, kInvalidOpcode = 6, kGeneralProtection = 13, kPageFault = 14, kText = 0x200000 };

int Attempt(uint64_t target, const uint64_t registers[kGprs]);
extern const char AttemptFailed[], DoSyscall[], DoInterrupt80[], DoSysenter[], DoFarInterrupt80[], DoFarSysenter[], DoFarSpin[];
extern uint64_t attempt_stack, attempt_jumps;

/* What the host and this guest share (layout.h). */
static volatile uint8_t *const control = (volatile uint8_t *)TRAPLINE_CONTROL;
static volatile uint32_t *const turn = (volatile uint32_t *)(TRAPLINE_CONTROL + 192);
static volatile uint32_t *const request = (volatile uint32_t *)(TRAPLINE_CONTROL + 204);
static volatile uint64_t *const ring_head = (volatile uint64_t *)(TRAPLINE_CONTROL + CONTROL_RING_HEAD);
static volatile uint32_t *const record = (volatile uint32_t *)(TRAPLINE_CONTROL + CONTROL_RECORD);
static volatile uint32_t *const tracing = (volatile uint32_t *)(TRAPLINE_CONTROL + 112);
enum { kCallLogSize = 8192, kTraceRingSize = 32768 * 88 };

/* For the test to read, at addresses that it knows (hostile_test.cc): how far a scan is; a counter that only moves while this
 * guest executes. */
static volatile uint64_t *const progress = (volatile uint64_t *)0x3ff0000;
static volatile uint64_t *const beats = (volatile uint64_t *)0x3ff0008;

static struct trapline_vcpu_info info __attribute__((aligned(64)));
static volatile uint64_t faults, events, foreign;
static struct trapline_upcall_frame last; /* of the last fault */
static int forever;                       /* faults lead back to themselves */

void OnUpcall(struct trapline_upcall_frame *frame) {
  if (frame->vector == TRAPLINE_UPCALL_EVENT) {
    __atomic_exchange_n(&info.pending, 0, __ATOMIC_SEQ_CST);
    __atomic_exchange_n(&info.masked, 0, __ATOMIC_SEQ_CST);
    ++events;
  } else {
    ++faults;
    last = *frame;
  }
  if (frame->vector == kDebug) {
    foreign += frame->rip < kText || frame->rip >= kText + ((uint64_t)1 << 20);
    return;
  }
  if (forever) return;
  frame->rip = (uint64_t)AttemptFailed;
  frame->cs = 0x33;
  frame->ss = 0x2b;
  frame->rflags = 2;
}

static uint64_t state;
static uint64_t Random(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}

/* The count-th place in the program's text where it makes a system call; 0: there is none. */
static uint64_t FindSyscall(uint64_t count) {
  for (uint64_t at = TRAPLINE_PROGRAM; at < TRAPLINE_PROGRAM + 4096 * 2 - 2; ++at) {
    const volatile uint8_t *code = (const volatile uint8_t *)at;
    if (code[0] == 0x0f && code[1] == 0x05 && count-- == 0) return at;
  }
  return 0;
}

/* An attempt that must fault. Linux does not ask seccomp about one call, uprobe (since 6.18): it does nothing but say ENXIO to who
 * is no uprobe's trampoline, who then goes on with whatever stands behind it. (Another, uretprobe, since 6.14, raises SIGILL then.) */
static void Must(uint64_t target, const uint64_t registers[kGprs], uint64_t number, uint64_t vector) {
  int faulted = Attempt(target, registers);
  if (number == kUprobe || (faulted && (last.vector == vector || number == kUprobe - 1))) return;
  Print("hostile: NOT STOPPED: ");
  PrintNumber(number);
  Print("\n");
  Exit(1);
}

/* Something ends whatever does not end by itself: a timer, within 20 ms. */
static void Watch(void) {
  Hypercall(TRAPLINE_HC_TIMER, Hypercall(TRAPLINE_HC_CLOCK, 0, 0, 0, 0) + 20 * 1000 * 1000, 0, 0, 0);
}

/* Every step-th address of [from, to), called with nothing. */
static void Jumps(uint64_t from, uint64_t to, uint64_t step) {
  const uint64_t none[kGprs] = {0};
  for (uint64_t at = from; at < to; at += step) {
    *progress = at;
    Watch();
    Attempt(at, none);
  }
  Hypercall(TRAPLINE_HC_TIMER, ~(uint64_t)0, 0, 0, 0);
}

static void Syscalls(void) {
  static const char path[] = "/etc/passwd";
  const char *const ways[] = {DoSyscall, DoInterrupt80, DoSysenter, DoFarInterrupt80, DoFarSysenter};
  const uint8_t vectors[] = {kInvalidOpcode, kGeneralProtection, kGeneralProtection, kGeneralProtection, kGeneralProtection};
  uint64_t stack;
  for (uint64_t way = 0; way < sizeof ways / sizeof ways[0]; ++way) {
    for (uint64_t number = 0; number < 2 * kNumbers; ++number) {
      uint64_t first = number % 2 ? (uint64_t)path : ~(uint64_t)0;
      /* SYSENTER takes the stack from RBP. */
      const uint64_t registers[kGprs] = {[kRax] = number / 2, [kRbx] = first, [kRcx] = 9, [kRdx] = 7,
                                         [kRbp] = (uint64_t)&stack, [kRsi] = 9, [kRdi] = first, [kR10] = 0x22, [kR8] = ~(uint64_t)0};
      Must((uint64_t)ways[way], registers, number / 2, vectors[way]);
    }
  }
  for (uint64_t number = 0; number < kNumbers; ++number) { /* x32 */
    const uint64_t registers[kGprs] = {[kRax] = number | 0x40000000};
    Must((uint64_t)DoSyscall, registers, number, kInvalidOpcode);
  }
  for (uint64_t at = 0xffffffffff600000; at < 0xffffffffff601000; at += 0x400) {
    const uint64_t registers[kGprs] = {0};
    Must(at, registers, at, kPageFault);
    if (last.rip != at || last.address != at || last.error_code != 0x10) Exit(2);
  }
}

/* The program's own system-call instructions. */
static void OwnSyscalls(void) {
  uint64_t at;
  for (uint64_t i = 0; (at = FindSyscall(i)) != 0; ++i) {
    for (uint64_t number = 0; number < kNumbers; ++number) {
      const uint64_t registers[kGprs] = {[kRax] = number, [kRdi] = ~(uint64_t)0, [kRsi] = 9, [kRdx] = 7};
      if (number == kFutex || number == kSigreturn || number == kExitGroup) continue;
      Must(at, registers, number, kInvalidOpcode);
    }
    for (uint64_t operation = kWake + 1; operation < 1024; ++operation) {
      const uint64_t registers[kGprs] = {[kRax] = kFutex, [kRdi] = (uint64_t)turn, [kRsi] = operation};
      Must(at, registers, operation, kInvalidOpcode);
    }
  }
}

/* RT_SIGRETURN with a frame of this guest's making: rip, rflags and selectors as given, and a signal mask. */
static int Sigreturn(uint64_t rip, uint64_t rflags, uint64_t selectors, uint64_t blocked) {
  static uint64_t frame[128] __attribute__((aligned(64)));
  enum { kContext = 5, kFrameRsp = 15, kFrameRip = 16, kFrameFlags = 17, kSelectors = 18, kMask = 37 };
  for (uint64_t i = 0; i < 128; ++i) frame[i] = 0;
  frame[0] = 6; /* the stack segment is restored as it is given */
  static uint8_t stack[4096] __attribute__((aligned(16)));
  frame[kContext + kFrameRsp] = (uint64_t)stack + sizeof stack;
  frame[kContext + kFrameRip] = rip;
  frame[kContext + kFrameFlags] = rflags;
  frame[kContext + kSelectors] = selectors;
  frame[kMask] = blocked;
  const uint64_t registers[kGprs] = {[kRax] = kSigreturn, [kRsp] = (uint64_t)frame};
  attempt_jumps = 1;
  int faulted = Attempt(FindSyscall(0), registers);
  attempt_jumps = 0;
  return faulted;
}

static const uint64_t kUser = 0x33 | (uint64_t)0x2b << 48;

static void Frames(void) {
  static const uint16_t selectors[] = {0, 3, 0x10, 0x18, 0x20, 0x23, 0x28, 0x2b, 0x30, 0x33, 0x38, 0x40, 0x63, 0x7b, 0x87, 0xffff};
  for (unsigned code = 0; code < 16; ++code) {
    for (unsigned stack = 0; stack < 16; ++stack)
      Sigreturn(1, 2, selectors[code] | (uint64_t)selectors[stack] << 48, 0);
  }
  /* TF, IF, DF, IOPL, NT, RF, VM, AC, ID and others, one by one and together. */
  for (unsigned bit = 0; bit < 64; ++bit) Sigreturn(1, (uint64_t)1 << bit, kUser, 0);
  Sigreturn(1, ~(uint64_t)0, kUser, 0);
  static const uint64_t places[] = {0, ~(uint64_t)0, (uint64_t)1 << 63, 0x800000000000, 0x7ffffffff000, 0xffffffff81000000};
  for (unsigned i = 0; i < 6; ++i) Sigreturn(places[i], 2, kUser, 0);
}

/* Executes for ever, and takes no signal. */
static void Deaf(uint64_t code) { Sigreturn(code, 2, kUser, ~(uint64_t)0); }
static void DeafSpinning(void) {
  for (;;) ++*beats;
}
static void DeafPosting(void) {
  for (;;) __atomic_fetch_add(ring_head, 1, __ATOMIC_SEQ_CST), ++*beats;
}
static void DeafTurning(void) {
  for (;;) *turn = 2 + (uint32_t)(++*beats % 7);
}
static void DeafWaking(void) {
  uint64_t at = FindSyscall(0);
  for (;;) {
    uint64_t number = kFutex;
    __asm__ volatile("call *%1" : "+a"(number) : "r"(at), "D"(turn), "S"((uint64_t)kWake), "d"((uint64_t)1)
                     : "rcx", "r11", "memory");
    ++*beats;
  }
}

/* Hands over, as it seems, and goes on. */
static void Pretend(void) {
  for (;;) {
    *request = 7; /* Request::kKicked */
    *turn = 1;
    ++*beats;
  }
}

/* What a VM is to go on doing while others fail: calls served by the process and by the VMM, events, waits. */
static void Good(void) {
  Print("hostile: behaves\n");
  info.masked = 1; /* a WAIT ends all the same */
  for (;;) {
    Hypercall(TRAPLINE_HC_TIMER, Hypercall(TRAPLINE_HC_CLOCK, 0, 0, 0, 0) + 1000 * 1000, 0, 0, 0);
    while (!(__atomic_exchange_n(&info.pending, 0, __ATOMIC_SEQ_CST) & 1 << TRAPLINE_EVENT_TIMER)) Hypercall(TRAPLINE_HC_WAIT, 0, 0, 0, 0);
    if (Hypercall(TRAPLINE_HC_PING, *beats, 0, 0, 0) == *beats && Hypercall(TRAPLINE_HC_ENTROPY, 0, 0, 0, 0) != 0) ++*beats;
  }
}

/* Single-steps through calls that are served without a fault: each step is to be one of this guest's own instructions. */
static void Steps(void) {
  for (uint64_t i = 0; i < 1003; ++i) {
    if (i == 1000) __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" : : : "memory");
    if (Hypercall(TRAPLINE_HC_PING, i, 0, 0, 0) != i) Exit(3);
  }
  __asm__ volatile("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" : : : "memory");
  if (foreign) Exit(4);
}

/* Every request, with a frame of garbage, while this goes on executing. */
static void Forge(void) {
  for (uint64_t i = 0; i < 3000; ++i) {
    for (unsigned word = 0; word < 32; ++word) ((volatile uint64_t *)(control + CONTROL_FRAME))[word] = Random();
    *request = (uint32_t)(i < 2000 ? 3 + i % 5 : Random());
    *turn = 1;
    for (unsigned spin = 0; spin < 200; ++spin) __asm__ volatile("pause");
    *progress = i;
  }
}

static void Scribble(void) {
  struct {
    uint64_t start, size;
  } const areas[] = {{TRAPLINE_CONTROL, 4096},
                     {TRAPLINE_RING, TRAPLINE_RING_RECORDS * 16},
                     {TRAPLINE_PROGRAM + 0x2000, 0x15000},
                     {TRAPLINE_COUNTERS, 1 << 16},
                     {TRAPLINE_CALL_LOG, kCallLogSize},
                     {TRAPLINE_TRACE_RING, kTraceRingSize}};
  static const uint16_t calls[] = {TRAPLINE_HC_PING,    TRAPLINE_HC_CONSOLE_WRITE, TRAPLINE_HC_CLOCK,
                                   TRAPLINE_HC_ENTROPY, TRAPLINE_HC_VCPU_NUMBER,   TRAPLINE_HC_CONSOLE_PUT};
  for (uint64_t i = 0; i < 20000; ++i) {
    unsigned area = (unsigned)(Random() % (sizeof areas / sizeof areas[0]));
    volatile uint64_t *word = (volatile uint64_t *)(areas[area].start + (Random() % areas[area].size & ~(uint64_t)7));
    *word = Random() % 4 ? Random() : Random() % 16;
    if (i % 16 == 0) Hypercall(calls[Random() % 6], Random(), Random() % 64, 0, 0);
    if (i % 16 == 5) Vmcall(TRAPLINE_HC_PING, i, 0, 0, 0);
    if (i % 64 == 7) Watch();
    *progress = i;
  }
}

static void Ring(void) {
  for (uint64_t i = 0; i < 5000; ++i) {
    *ring_head = i % 3 ? Random() : *ring_head + Random() % 8192;
    volatile uint64_t *record = (volatile uint64_t *)(TRAPLINE_RING + Random() % TRAPLINE_RING_RECORDS * 16);
    record[0] = Random(), record[1] = Random();
    Hypercall(TRAPLINE_HC_CONSOLE_PUT, Random(), i, 0, 0);
    Hypercall(TRAPLINE_HC_VCPU_NUMBER, 0, 0, 0, 0);
  }
}

/* Numbers of records, records and whether there are to be any, all of them nonsense, between calls that this process and the VMM
 * record; until it is stopped. */
static void Records(void) {
  volatile uint64_t *const log = (volatile uint64_t *)TRAPLINE_CALL_LOG, *const ring = (volatile uint64_t *)TRAPLINE_TRACE_RING;
  for (uint64_t i = 0;; ++i) {
    log[Random() % 8] = i % 2 ? Random() : Random() % 100000;
    log[Random() % (kCallLogSize / 8)] = Random();
    for (int word = 0; word < 16; ++word) ring[Random() % (kTraceRingSize / 8)] = Random();
    *record = (uint32_t)Random() % 2;
    if (i % 64 == 0) *tracing = (uint32_t)Random() % 2;
    for (uint64_t call = 0; call < Random() % 100; ++call) Hypercall(TRAPLINE_HC_PING, call, 0, 0, 0);
    Hypercall(TRAPLINE_HC_ENTROPY, 0, 0, 0, 0);
    ++*beats;
  }
}

static void Touch(uint64_t from, uint64_t to) {
  for (uint64_t at = from; at < to; at += 4096) *(volatile uint8_t *)at = 0xa5;
}

/* Enters random code anywhere, with random registers but for the stack. */
static void RandomCode(uint64_t count) {
  extern const char random_code[], random_code_end[];
  static uint64_t stack[1024];
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t registers[kGprs];
    for (unsigned r = 0; r < kGprs; ++r) registers[r] = Random() >> (Random() % 64);
    registers[kRsp] = (uint64_t)(stack + 512);
    *progress = i;
    Watch();
    Attempt((uint64_t)random_code + Random() % (uint64_t)(random_code_end - random_code), registers);
  }
}

/* Uses stack without end. */
void Overflow(void);

static void OverflowFrom(uint64_t stack) {
  forever = 1;
  __asm__ volatile("mov %0, %%rsp\n\tjmp *%1" : : "r"(stack), "r"(Overflow) : "memory");
}

/* What ring 3 answers by itself. */
static void Untrapped(void) {
  extern const struct {
    const char *name;
    uint64_t code;
  } untrapped[];
  extern volatile uint64_t untrapped_answer;
  const uint64_t none[kGprs] = {0};
  for (unsigned i = 0; untrapped[i].name; ++i) {
    Print(untrapped[i].name);
    if (Attempt(untrapped[i].code, none)) {
      Print(": vector ");
      PrintNumber(last.vector);
    } else {
      Print(": ");
      PrintHex(untrapped_answer);
    }
    Print("\n");
  }
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)vcpus;
  state = NumberOption(command_line, "seed", 1) * 0x9e3779b97f4a7c15 | 1;
  Hypercall(TRAPLINE_HC_UPCALL, (uint64_t)UpcallEntry, (uint64_t)&info, 0, 0);
  if (HasWord(command_line, "good")) Good();
  if (HasWord(command_line, "jumps"))
    Jumps(NumberOption(command_line, "from", 0), NumberOption(command_line, "to", 0), NumberOption(command_line, "step", 16));
  if (HasWord(command_line, "syscalls")) Syscalls();
  if (HasWord(command_line, "own-syscalls")) OwnSyscalls();
  if (HasWord(command_line, "frames")) Frames();
  if (HasWord(command_line, "crash")) Deaf(0); /* a fault whose signal is blocked */
  if (HasWord(command_line, "deaf")) Deaf((uint64_t)DeafSpinning);
  if (HasWord(command_line, "deaf-posting")) Deaf((uint64_t)DeafPosting);
  if (HasWord(command_line, "deaf-turning")) Deaf((uint64_t)DeafTurning);
  if (HasWord(command_line, "deaf-waking")) Deaf((uint64_t)DeafWaking);
  if (HasWord(command_line, "pretend")) Deaf((uint64_t)Pretend);
  if (HasWord(command_line, "steps")) Steps();
  if (HasWord(command_line, "untrapped")) Untrapped();
  if (HasWord(command_line, "forge")) Forge();
  if (HasWord(command_line, "scribble")) Scribble();
  if (HasWord(command_line, "ring")) Ring();
  if (HasWord(command_line, "records")) Records();
  if (HasWord(command_line, "counters")) Touch(TRAPLINE_COUNTERS, TRAPLINE_COUNTERS + ((uint64_t)64 << 30));
  if (HasWord(command_line, "far-spin")) {
    const uint64_t none[kGprs] = {0};
    Attempt((uint64_t)DoFarSpin, none);
  }
  if (HasWord(command_line, "ram")) Touch((uint64_t)8 << 20, low_ram - ((uint64_t)1 << 20));
  if (HasWord(command_line, "random")) RandomCode(NumberOption(command_line, "count", 1000));
  if (HasWord(command_line, "faults")) {
    forever = 1;
    __asm__ volatile("ud2");
  }
  if (HasWord(command_line, "overflow-low")) OverflowFrom(TRAPLINE_RAM_START + 8192);
  if (HasWord(command_line, "overflow-text")) OverflowFrom(0x300000);
  Print("hostile: stood ");
  PrintNumber(faults);
  Print("\n");
  return 0;
}

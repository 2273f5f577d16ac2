/* SPDX-License-Identifier: Apache-2.0 */
/* Upcalls, in the order of the checks: registration, the timer, events masked and not, events between vCPUs, exceptions. Prints
 * PASS or FAIL for each; then echoes what is typed, line by line, until it is asked to power off, or with `once` ends at once. The
 * exit status is the number of failures. Touches no device and nothing of the machine below hypercalls. */
#include "core/guest/guest.h"

enum { kMaxVcpus = 64, kPing = TRAPLINE_EVENT_GUEST, kPong, kRounds = 200, kReturnAddress = 8, kUserBit = 4 };
enum { kDivideError = 0, kBreakpoint = 3, kInvalidOpcode = 6, kProtection = 13, kPageFault = 14 };
static const uint64_t kMillisecond = 1000000, kHour = 3600000000000, kNever = ~(uint64_t)0;
static const uint64_t kFromOutside = 1 << TRAPLINE_EVENT_CONSOLE | 1 << TRAPLINE_EVENT_POWER;

static struct trapline_vcpu_info infos[kMaxVcpus] __attribute__((aligned(64)));
static volatile uint64_t seen[kMaxVcpus][TRAPLINE_EVENTS]; /* events, written by their vCPU */
static volatile uint64_t upcalls[kMaxVcpus];               /* those for events but of people's */
static uint8_t stacks[kMaxVcpus][8192] __attribute__((aligned(16)));
static int failures;

static void Check(const char *what, int good) {
  Print(good ? "PASS: " : "FAIL: ");
  Print(what);
  Print("\n");
  if (!good) ++failures;
}

static uint64_t Call(uint64_t number, uint64_t a, uint64_t b) { return Hypercall(number, a, b, 0, 0); }
static uint64_t Self(void) { return Call(TRAPLINE_HC_VCPU_NUMBER, 0, 0); }
static uint64_t Now(void) { return Call(TRAPLINE_HC_CLOCK, 0, 0); }
static int Refused(uint64_t result, int error) { return result == (uint64_t)-error; }

/* ---- The mask protocol (abi.h) ---- */

static void Mask(uint64_t vcpu) { __atomic_store_n(&infos[vcpu].masked, 1, __ATOMIC_SEQ_CST); }

/* Handles what is pending and returns it; events are masked. */
static uint64_t TakeEvents(uint64_t vcpu) {
  uint64_t bits = __atomic_exchange_n(&infos[vcpu].pending, 0, __ATOMIC_SEQ_CST);
  for (int event = 0; event < TRAPLINE_EVENTS; ++event) {
    if (!(bits >> event & 1)) continue;
    ++seen[vcpu][event];
    if (event == kPing && vcpu != 0) Call(TRAPLINE_HC_SEND_EVENT, 0, kPong);
  }
  return bits;
}

static void Unmask(uint64_t vcpu) {
  for (;;) {
    __atomic_store_n(&infos[vcpu].masked, 0, __ATOMIC_SEQ_CST);
    if (infos[vcpu].pending == 0) return;
    Mask(vcpu);
    TakeEvents(vcpu);
  }
}

/* Sleeps until this vCPU has seen an event so often. */
static void Await(uint64_t vcpu, int event, uint64_t times) {
  for (;;) {
    Mask(vcpu);
    TakeEvents(vcpu);
    if (seen[vcpu][event] >= times) break;
    Call(TRAPLINE_HC_WAIT, 0, 0);
  }
  Unmask(vcpu);
}

/* ---- Exceptions ---- */

static struct trapline_upcall_frame caught;
static volatile uint64_t times_caught, fault_at, fault_behind;

void OnUpcall(struct trapline_upcall_frame *frame) {
  uint64_t vcpu = Self();
  if (frame->vector == TRAPLINE_UPCALL_EVENT) {
    if (TakeEvents(vcpu) & ~kFromOutside) ++upcalls[vcpu];
    Unmask(vcpu);
    return;
  }
  caught = *frame;
  ++times_caught;
  frame->rip = fault_behind;
}

/* One instruction that faults, and where the code goes on; RCX and RDX are zero before setup. */
#define PROVOKE(setup, instruction)                                                                              \
  __asm__ volatile("leaq 0f(%%rip), %%rax\n\tmovq %%rax, %0\n\tleaq 1f(%%rip), %%rax\n\tmovq %%rax, %1\n\t"      \
                   "xorl %%ecx, %%ecx\n\txorl %%edx, %%edx\n\t" setup "\n0:\t" instruction "\n1:"                \
                   : "=m"(fault_at), "=m"(fault_behind)                                                          \
                   :                                                                                             \
                   : "rax", "rcx", "rdx", "cc", "memory")

/* Whether just one exception was caught, as it should be, and nothing but it. Engines run guests at privilege levels of their own:
 * bit 2 of a page fault's error code says nothing. */
static int Caught(uint64_t vector, uint64_t error_code, uint64_t address, uint64_t rip) {
  uint64_t error = vector == kPageFault ? caught.error_code & ~(uint64_t)kUserBit : caught.error_code;
  int good = times_caught == 1 && caught.vector == vector && error == error_code && caught.address == address && caught.rip == rip;
  times_caught = 0;
  return good;
}

static int RegistersSurvive(void) {
  uint64_t rbx, r15, red_zone;
  uint8_t carry;
  __asm__ volatile(
      "leaq 1f(%%rip), %%rax\n\tmovq %%rax, %[behind]\n\tmovl $11, %%ebx\n\tmovl $22, %%r15d\n\tmovl $33, %%r11d\n\t"
      "movq %%r11, -8(%%rsp)\n\tmovl $44, %%eax\n\tstc\n\tud2\n1:\tsetc %[carry]\n\tsubl $44, %%eax\n\taddq %%rax, %%rbx\n\t"
      "subl $33, %%r11d\n\taddq %%r11, %%r15\n\tmovq -8(%%rsp), %%rax\n\tmovq %%rax, %[red]\n\tmovq %%rbx, %[rbx]\n\t"
      "movq %%r15, %[r15]"
      : [behind] "=m"(fault_behind), [carry] "=m"(carry), [red] "=m"(red_zone), [rbx] "=m"(rbx), [r15] "=m"(r15)
      :
      : "rax", "rbx", "r11", "r15", "cc", "memory");
  times_caught = 0;
  return rbx == 11 && r15 == 22 && red_zone == 33 && carry == 1;
}

static void CheckExceptions(void) {
  PROVOKE("", "divl %%ecx");
  Check("divide error", Caught(kDivideError, 0, 0, fault_at));
  PROVOKE("", "movq 0x10(%%rcx), %%rax");
  Check("page fault by a read", Caught(kPageFault, 0, 0x10, fault_at));
  PROVOKE("", "movq %%rax, 0x10(%%rcx)");
  Check("page fault by a write", Caught(kPageFault, 2, 0x10, fault_at));
  PROVOKE("", "ud2");
  Check("invalid opcode", Caught(kInvalidOpcode, 0, 0, fault_at));
  PROVOKE("", "int3");
  Check("breakpoint", Caught(kBreakpoint, 0, 0, fault_behind));
  PROVOKE("movabsq $0x8000000000000000, %%rdx", "movq (%%rdx), %%rax");
  Check("general protection", Caught(kProtection, 0, 0, fault_at));
  Mask(0);
  PROVOKE("", "ud2");
  Check("exceptions come while events are masked", Caught(kInvalidOpcode, 0, 0, fault_at));
  Unmask(0);
  Check("registers, flags and the red zone survive", RegistersSurvive());
}

/* ---- Events ---- */

static void CheckRegistration(void) {
  uint64_t entry = (uint64_t)UpcallEntry;
  Check("an info that is not aligned is refused", Refused(Call(TRAPLINE_HC_UPCALL, entry, (uint64_t)infos + 8), KVM_EINVAL));
  Check("an entry that is not canonical is refused",
        Refused(Call(TRAPLINE_HC_UPCALL, (uint64_t)1 << 63, (uint64_t)infos), KVM_EINVAL));
  Check("an info that is not RAM is refused", Refused(Call(TRAPLINE_HC_UPCALL, entry, (uint64_t)1 << 40), KVM_EFAULT));
  Check("an upcall is registered", Call(TRAPLINE_HC_UPCALL, entry, (uint64_t)infos) == 0);
}

/* Whether a deadline that `instead` replaces stays away, as far as it was replaced before it came. */
static int Replaced(uint64_t instead) {
  uint64_t before = seen[0][TRAPLINE_EVENT_TIMER], first = Now() + 2 * kMillisecond;
  Call(TRAPLINE_HC_TIMER, first, 0);
  Call(TRAPLINE_HC_TIMER, instead, 0);
  int in_time = Now() < first;
  while (Now() < first + 2 * kMillisecond) __asm__ volatile("pause");
  return !in_time || seen[0][TRAPLINE_EVENT_TIMER] == before;
}

static void CheckTimer(void) {
  volatile uint64_t *ticks = &seen[0][TRAPLINE_EVENT_TIMER];
  uint64_t deadline = Now() + kMillisecond;
  Call(TRAPLINE_HC_TIMER, deadline, 0);
  while (*ticks == 0) __asm__ volatile("pause");
  Check("the timer interrupts a loop, not early", upcalls[0] == 1 && Now() >= deadline);
  for (uint64_t tick = 2; tick <= 10; ++tick) {
    Call(TRAPLINE_HC_TIMER, Now() + kMillisecond, 0);
    Await(0, TRAPLINE_EVENT_TIMER, tick);
  }
  Check("the timer ends a wait", *ticks == 10);
  Check("a deadline is taken back", Replaced(kNever));
  Check("a later deadline replaces it", Replaced(Now() + kHour));
  uint64_t before = *ticks;
  deadline = Now() + kMillisecond;
  Call(TRAPLINE_HC_TIMER, deadline, 0);
  Await(0, TRAPLINE_EVENT_TIMER, before + 1);
  Check("an earlier one as well", *ticks == before + 1 && Now() >= deadline);
  Call(TRAPLINE_HC_TIMER, 1, 0);
  Await(0, TRAPLINE_EVENT_TIMER, before + 2);
  Check("a deadline that has passed comes at once", *ticks == before + 2);
}

static void CheckMask(uint64_t vcpus) {
  Check("reserved events are refused", Refused(Call(TRAPLINE_HC_SEND_EVENT, 0, TRAPLINE_EVENT_GUEST - 1), KVM_EINVAL));
  Check("unknown events are refused", Refused(Call(TRAPLINE_HC_SEND_EVENT, 0, TRAPLINE_EVENTS), KVM_EINVAL));
  Check("unknown vCPUs are refused", Refused(Call(TRAPLINE_HC_SEND_EVENT, vcpus, kPing), KVM_EINVAL));
  uint64_t before = upcalls[0];
  Check("an event to itself", Call(TRAPLINE_HC_SEND_EVENT, 0, kPing) == 0);
  while (seen[0][kPing] == 0) __asm__ volatile("pause");
  Check("comes by one upcall", upcalls[0] == before + 1);
  Mask(0);
  Call(TRAPLINE_HC_SEND_EVENT, 0, kPing);
  Call(TRAPLINE_HC_WAIT, 0, 0);
  Check("a masked one ends a wait and makes no upcall",
        upcalls[0] == before + 1 && (infos[0].pending & (uint64_t)1 << kPing) && infos[0].masked == 1);
  Unmask(0);
  Check("it is there to be taken", seen[0][kPing] == 2);
}

static void StartedMain(uint64_t vcpu) {
  Call(TRAPLINE_HC_UPCALL, (uint64_t)UpcallEntry, (uint64_t)&infos[vcpu]);
  Await(vcpu, kPing, kNever);
}

static void CheckOthers(uint64_t vcpus) {
  Check("no vCPU beyond the last can be started",
        Refused(Hypercall(TRAPLINE_HC_VCPU_START, vcpus, (uint64_t)StartedMain, 0, 0), KVM_EINVAL));
  Check("a running vCPU cannot be started", Refused(Hypercall(TRAPLINE_HC_VCPU_START, 0, (uint64_t)StartedMain, 0, 0), KVM_EPERM));
  uint64_t rounds = 0;
  for (uint64_t vcpu = 1; vcpu < vcpus && vcpu < kMaxVcpus; ++vcpu) {
    uint64_t stack = (uint64_t)stacks[vcpu] + sizeof stacks[vcpu] - kReturnAddress;
    int started = Hypercall(TRAPLINE_HC_VCPU_START, vcpu, (uint64_t)StartedMain, stack, vcpu) == 0;
    if (!started || !Refused(Hypercall(TRAPLINE_HC_VCPU_START, vcpu, (uint64_t)StartedMain, stack, vcpu), KVM_EPERM)) {
      Check("a vCPU starts, and only once", 0);
      return;
    }
    /* The first may come before it has registered, and waits for that. */
    for (int i = 0; i < kRounds; ++i) {
      Call(TRAPLINE_HC_SEND_EVENT, vcpu, kPing);
      Await(0, kPong, ++rounds);
    }
  }
  int good = seen[0][kPong] == (vcpus - 1) * kRounds;
  for (uint64_t vcpu = 1; vcpu < vcpus && vcpu < kMaxVcpus; ++vcpu) good = good && seen[vcpu][kPing] == kRounds;
  Check("every event between vCPUs arrives once", good);
}

/* ---- Console ---- */

static void Post(const char *text) {
  for (; *text; ++text) Call(TRAPLINE_HC_CONSOLE_PUT, (uint8_t)*text, 1);
}

/* Echoes each line that is complete. */
static void EchoConsole(void) {
  static char line[256];
  static uint64_t length;
  for (;;) {
    uint64_t got = Call(TRAPLINE_HC_CONSOLE_READ, (uint64_t)(line + length), 1);
    if (got == 0) return;
    if (line[length] != '\n' && length < sizeof line - 2) {
      ++length;
      continue;
    }
    line[length] = 0;
    length = 0;
    Post("echo: ");
    Print(line);
    Post("\n");
  }
}

static void EchoUntilPower(void) {
  Print("events: type lines, or power off\n");
  for (;;) {
    Mask(0);
    TakeEvents(0);
    EchoConsole();
    if (seen[0][TRAPLINE_EVENT_POWER] != 0) break;
    Call(TRAPLINE_HC_WAIT, 0, 0);
  }
  Print("events: power off\n");
}

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)low_ram;
  CheckRegistration();
  CheckTimer();
  CheckMask(vcpus);
  CheckOthers(vcpus);
  CheckExceptions();
  Print(failures ? "events: failed\n" : "events: all passed\n");
  if (!HasWord(command_line, "once")) EchoUntilPower();
  return failures;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* All vCPUs call through one site without end, and check that every call is answered, by its own answer, and leaves everything
 * else alone. When something is typed they stop, and tell how many calls there were.
 *
 * Options: bytes=3, bytes=5: of the site. */
#include "core/guest/guest.h"

enum { kMaxVcpus = 64, kReturnAddress = 8 };

__asm__(
    ".text\n"
    ".balign 64\n"
    ".type three, @function\n"
    "three: vmcall\n"
    ".byte 0x0f, 0x1f, 0x40, 0x00\n" /* so that a punned jump finds room */
    "ret\n"
    ".size three, . - three\n"
    ".balign 64\n"
    ".type five, @function\n"
    "five: " TRAPLINE_SITE5 "\n"
    "ret\n"
    ".size five, . - five\n");
extern const uint8_t three[], five[];

static struct {
  volatile uint64_t calls, wrong, finished, padding[5];
} counts[kMaxVcpus] __attribute__((aligned(64)));
static uint8_t stacks[kMaxVcpus][4096] __attribute__((aligned(64)));
static struct trapline_vcpu_info info __attribute__((aligned(64)));
static volatile int stop;
static const uint8_t *site;

static int Answered(uint64_t i) {
  const uint64_t b = i * 0x9e3779b97f4a7c15, c = b + 1, d = b + 2, s = b + 3;
  uint64_t result = TRAPLINE_HC_PING, rbx = b, rcx = c, rdx = d, rsi = s, carry;
  __asm__ volatile(
      "stc\n"
      "call *%[site]\n"
      "sbb %[carry], %[carry]\n"
      : "+a"(result), "+b"(rbx), "+c"(rcx), "+d"(rdx), "+S"(rsi), [carry] "=r"(carry)
      : [site] "m"(site)
      : "memory", "cc");
  return result == b && rbx == b && rcx == c && rdx == d && rsi == s && carry == ~(uint64_t)0;
}

static void CallUntilStopped(uint64_t vcpu) {
  for (uint64_t i = vcpu; !stop; ++i) {
    if (!Answered(i)) counts[vcpu].wrong++;
    counts[vcpu].calls++;
    if (vcpu == 0 && info.pending) stop = 1;
  }
  counts[vcpu].finished = 1;
}

static void StartedMain(uint64_t vcpu) {
  CallUntilStopped(vcpu);
  for (;;) Hypercall(TRAPLINE_HC_WAIT, 0, 0, 0, 0);
}

static void OnNobodysUpcall(void) { Exit(3); }

int Main(const char *command_line, uint64_t low_ram, uint64_t vcpus) {
  (void)low_ram;
  site = NumberOption(command_line, "bytes", 3) == 5 ? five : three;
  info.masked = 1;
  if (Hypercall(TRAPLINE_HC_UPCALL, (uint64_t)OnNobodysUpcall, (uint64_t)&info, 0, 0) != 0) return 2;
  Print("answers: site ");
  PrintHex((uint64_t)site);
  Print("\n");
  for (uint64_t i = 1; i < vcpus && i < kMaxVcpus; ++i) {
    uint64_t stack = (uint64_t)stacks[i] + sizeof stacks[i] - kReturnAddress;
    if (Hypercall(TRAPLINE_HC_VCPU_START, i, (uint64_t)StartedMain, stack, i) != 0) return 2;
  }
  CallUntilStopped(0);
  uint64_t calls = 0, wrong = 0;
  for (uint64_t i = 0; i < vcpus && i < kMaxVcpus; ++i) {
    while (!counts[i].finished) __asm__ volatile("pause");
    calls += counts[i].calls, wrong += counts[i].wrong;
  }
  Print("answers: ");
  PrintNumber(calls);
  Print(" calls, ");
  PrintNumber(wrong);
  Print(" wrong\n");
  return wrong != 0;
}

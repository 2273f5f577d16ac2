/* SPDX-License-Identifier: Apache-2.0 */
/* What example guests are written with: console, exit, hypercalls, a little text. */
#ifndef TRAPLINE_CORE_GUEST_GUEST_H_
#define TRAPLINE_CORE_GUEST_GUEST_H_

#include <stdint.h>

#include "core/guest/abi.h"

/* The guest's own: command_line is zero-terminated. Its result is the exit status: 0 switches off,
 * another goes to the debug-exit port. */
int Main(const char* command_line, uint64_t low_ram, uint64_t vcpus);

static inline void Out8(uint16_t port, uint8_t value) {
  __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
static inline void Out16(uint16_t port, uint16_t value) {
  __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}
static inline uint64_t Cycles(void) {
  uint32_t low, high;
  __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
  return (uint64_t)high << 32 | low;
}

/* A hypercall by each of the instructions; the first leaves room for a jump. */
#define TRAPLINE_HYPERCALL(name, instruction)                                                    \
  static inline uint64_t name(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d) { \
    __asm__ volatile(instruction : "+a"(number) : "b"(a), "c"(b), "d"(c), "S"(d) : "memory");    \
    return number;                                                                               \
  }
TRAPLINE_HYPERCALL(Hypercall, TRAPLINE_SITE5)
TRAPLINE_HYPERCALL(Vmcall, "vmcall")
TRAPLINE_HYPERCALL(Vmmcall, "vmmcall")
TRAPLINE_HYPERCALL(DirectCall, "int $0x1f")

/* Where upcalls arrive (upcall.S). It calls OnUpcall, which the guest that links it has, and goes
 * back to where the frame says. */
void UpcallEntry(void);
void OnUpcall(struct trapline_upcall_frame* frame);

/* By the serial port, or by hypercall in guests that are built PARAVIRTUAL. */
void Print(const char* text);
void PrintNumber(uint64_t value);
void PrintHex(uint64_t value);
/* The number behind "key=" on the command line, or fallback. */
uint64_t NumberOption(const char* command_line, const char* key, uint64_t fallback);
/* True if the command line has the word "key=value". */
int HasWord(const char* command_line, const char* word);
void Exit(int status) __attribute__((noreturn));

#endif

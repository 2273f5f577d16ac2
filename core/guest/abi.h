/* SPDX-License-Identifier: Apache-2.0 */
/* The paravirtual ABI: what guest code and host code both know. Plain C, no headers of the host's
 * needed.
 *
 * A hypercall is KVM's: `vmcall` (or `vmmcall`) at CPL 0 with the number in RAX and arguments in
 * RBX, RCX, RDX, RSI; the result comes back in RAX and nothing else changes (Linux,
 * Documentation/virt/kvm/x86/hypercalls.rst). Outside 64-bit code all of them are 32 bits wide.
 * Numbers below TRAPLINE_HC_BASE are KVM's own. */
#ifndef TRAPLINE_CORE_GUEST_ABI_H_
#define TRAPLINE_CORE_GUEST_ABI_H_

/* KVM's hypercalls that are served. */
#define KVM_HC_KICK_CPU 5
#define KVM_HC_CLOCK_PAIRING 9
#define KVM_HC_SEND_IPI 10
#define KVM_HC_SCHED_YIELD 11

/* Trapline's own. */
#define TRAPLINE_HC_BASE 4096
#define TRAPLINE_HC_PING 4096          /* (x): x */
#define TRAPLINE_HC_CONSOLE_WRITE 4097 /* (gpa, length <= 4096): bytes written */
#define TRAPLINE_HC_CLOCK 4098         /* (): guest time in nanoseconds */
#define TRAPLINE_HC_SHUTDOWN \
  4099 /* (status): does not return; the VM ends with (status << 1) | 1 */
#define TRAPLINE_HC_WAIT                                                                    \
  4100 /* (): 0 after the next interrupt, as HLT; for a vCPU that takes events, once one is \
          pending, masked or not */
#define TRAPLINE_HC_VCPU_NUMBER 4101 /* (): this vCPU's number, its local APIC id */
#define TRAPLINE_HC_ENTROPY 4102     /* (): 64 random bits of the host's */
#define TRAPLINE_HC_DIRECT_SITES                                                      \
  4103 /* (start, length): `int $0x1f` in this range of guest-physical addresses is a \
          hypercall of the guest's own making: counted, never rewritten; 0 or an error */
#define TRAPLINE_HC_TECHNIQUE \
  4104 /* (t): limits this VM's sites to TRAPLINE_TECHNIQUE_t; 0 or an error */
#define TRAPLINE_HC_UPCALL                                                               \
  4105 /* (entry, gpa of a struct trapline_vcpu_info or 0): where this vCPU is told of   \
          exceptions and, with an info, of events; entry 0 takes it back; 0, -KVM_EINVAL \
          (info not aligned to 64, entry not canonical) or -KVM_EFAULT (info not RAM) */
#define TRAPLINE_HC_TIMER                                                                \
  4106 /* (deadline): raises TRAPLINE_EVENT_TIMER on this vCPU once, when                \
          TRAPLINE_HC_CLOCK reaches it, at once if it has; replaces the deadline before; \
          ~0: none; 0 */
#define TRAPLINE_HC_VCPU_START                                                           \
  4107 /* (vcpu, entry, stack, argument): starts a vCPU that is not running yet, in the  \
          caller's mode and address space: RIP entry, RSP stack, RDI argument, all other \
          registers zero; 0, -KVM_EINVAL (no such vCPU, or an address is not canonical)  \
          or -KVM_EPERM (it runs) */
#define TRAPLINE_HC_SEND_EVENT \
  4108 /* (vcpu, event): raises an event of the guest's own; 0 or -KVM_EINVAL */
#define TRAPLINE_HC_CONSOLE_READ                                                 \
  4109 /* (gpa, length <= 4096): bytes read of what was typed, 0 when none wait; \
          -KVM_E2BIG or -KVM_EFAULT */
#define TRAPLINE_HC_CONSOLE_PUT                                                       \
  4110 /* (bytes, count <= 8): says the low count bytes of the first argument, lowest \
          first; count or -KVM_EINVAL */

#define TRAPLINE_TECHNIQUE_EMULATE 1
#define TRAPLINE_TECHNIQUE_INTERRUPT 2
#define TRAPLINE_TECHNIQUE_LINKED 3

/* Errors, as KVM has them. */
#define KVM_ENOSYS 1000
#define KVM_EFAULT 14
#define KVM_EINVAL 22
#define KVM_E2BIG 7
#define KVM_EPERM 1
#define KVM_EOPNOTSUPP 95

/* CPUID: EBX, ECX, EDX of this leaf spell the signature "TraplineVMM\0"; EAX is the ABI's version.
 */
#define TRAPLINE_CPUID_LEAF 0x40000100
#define TRAPLINE_ABI_VERSION 1

/* The vector that a rewritten or direct site uses. */
#define TRAPLINE_HYPERCALL_VECTOR 0x1f

/* A site with room for a jump: `vmcall` and a no-operation of two bytes, to be entered at its start
 * only. An engine that can links it by a jump of five bytes. For an assembler. */
#define TRAPLINE_SITE5 "vmcall\n\t.byte 0x66, 0x90"

/* Events: bits of trapline_vcpu_info.pending. 3 to 7 are reserved. */
#define TRAPLINE_EVENT_TIMER 0
#define TRAPLINE_EVENT_CONSOLE 1 /* typed bytes wait, on vCPU 0: read until there are none */
#define TRAPLINE_EVENT_POWER 2   /* the guest is asked to switch itself off, on vCPU 0 */
#define TRAPLINE_EVENT_GUEST 8   /* from here on the guest's own, for TRAPLINE_HC_SEND_EVENT */
#define TRAPLINE_EVENTS 64

/* The vector of an upcall for events; those below it are the CPU's exceptions. */
#define TRAPLINE_UPCALL_EVENT 32
/* An upcall leaves so many bytes below the stack pointer alone, then builds its frame:
 * RSP = ((RSP - TRAPLINE_UPCALL_RED_ZONE) & ~15) - sizeof(struct trapline_upcall_frame). */
#define TRAPLINE_UPCALL_RED_ZONE 128

#ifndef __ASSEMBLER__
#include <stdint.h>

/* One per vCPU, in the guest's RAM, aligned to 64 bytes. The host sets bits of pending at any time,
 * atomically. When masked is zero and something is pending it sets masked to 1 and makes an
 * upcall. The guest takes pending by an atomic exchange with 0 and handles what it got, writes
 * masked = 0 by a locked instruction (a plain store may pass the load that follows), and looks at
 * pending once more (README.md). */
struct trapline_vcpu_info {
  volatile uint64_t pending;
  volatile uint64_t masked;
  uint64_t reserved[6];
};

/* What stands at RSP when an upcall begins; from rip on it is what IRETQ returns by. */
struct trapline_upcall_frame {
  uint64_t vector;     /* below 32: an exception; else TRAPLINE_UPCALL_EVENT */
  uint64_t error_code; /* 0 where the exception has none */
  uint64_t address;    /* vector 14: what could not be accessed; else 0 */
  uint64_t rip, cs, rflags, rsp, ss;
};
#endif

#endif

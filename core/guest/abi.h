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
  4099                        /* (status): does not return; the VM ends with (status << 1) | 1 */
#define TRAPLINE_HC_WAIT 4100 /* (): 0 after the next interrupt, as HLT */
#define TRAPLINE_HC_VCPU_NUMBER 4101 /* (): this vCPU's number, its local APIC id */
#define TRAPLINE_HC_ENTROPY 4102     /* (): 64 random bits of the host's */
#define TRAPLINE_HC_DIRECT_SITES                                                      \
  4103 /* (start, length): `int $0x1f` in this range of guest-physical addresses is a \
          hypercall of the guest's own making: counted, never rewritten; 0 or an error */
#define TRAPLINE_HC_TECHNIQUE \
  4104 /* (t): limits this VM's sites to TRAPLINE_TECHNIQUE_t; 0 or an error */

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

#endif

// SPDX-License-Identifier: Apache-2.0
// Where a guest process begins, where linked calls come in, and the way back to guest code.
//
// A linked site jumps to its stub (code_area.h writes them), which saves RCX and RDX in the control page, puts the address
// of the site's counters into RCX and where to go on into EDX, and jumps here. Nothing touches the guest's
// stack or what lies below it; RAX, RCX, RDX and the status flags are all that is used until it is known that the call
// must leave this path.
//
// A kick may arrive at any instruction. The handler (signals.cc) hands over at once where the instruction pointer is the
// guest's own. Anywhere else it sets `attention` and returns, and whoever goes back to guest code looks at that
// last. Between that look and the jump there is no looking any more, so the handler finishes the way for it: all that
// is to be restored is in memory by then (linked_tail to linked_tail_end, resume_tail to resume_tail_end).
#include "core/engine/direct/layout.h"
#include "core/guest/abi.h"

#define C(offset) (TRAPLINE_CONTROL + (offset))
#define FRAME(register) (TRAPLINE_CONTROL + CONTROL_FRAME + 8 * (register))
#define FRAME_RIP FRAME(16)
#define FRAME_RFLAGS FRAME(17)

.text

// ---- The process begins ----
.globl _start
_start:
    lea service_stack_end(%rip), %rsp
    xor %ebp, %ebp
    call Begin                          // sets up, hands over; the frame is the guest's first state then
    jmp resume

// ---- A linked call ----
.globl linked_entry
.balign 64
linked_entry:
    mov %rdx, C(CONTROL_RETURN)
    mov %rax, C(CONTROL_RAX)
    lahf
    seto %al
    mov %eax, C(CONTROL_FLAGS)
    mov C(CONTROL_RAX), %rax
    lea 1(%rax), %rdx
    cmpl $0, C(CONTROL_RECORD)          // somebody traces, and there is budget (recording.cc)
    jne linked_slow
    cmp %rdx, COUNTERS_NUMBER(%rcx)     // any other number than this site's first: its slot is to be found
    jne linked_slow
    sub $TRAPLINE_HC_PING, %rax
    jne 1f
    mov %rbx, %rax
    jmp count
1:  sub $(TRAPLINE_HC_CLOCK - TRAPLINE_HC_PING), %rax
    je clock
    sub $(TRAPLINE_HC_VCPU_NUMBER - TRAPLINE_HC_CLOCK), %rax
    je vcpu_number
    sub $(TRAPLINE_HC_CONSOLE_PUT - TRAPLINE_HC_VCPU_NUMBER), %rax
    jne linked_slow

    // Posts a record; the slow path where the ring is full, or this call is to be timed.
    testb $63, COUNTERS_LINKED(%rcx)
    je linked_slow
    mov C(CONTROL_RCX), %rax            // how many bytes
    cmp $8, %rax
    ja linked_slow
    mov C(CONTROL_RING_HEAD), %rdx
    sub C(CONTROL_RING_TAIL), %rdx
    cmp $(TRAPLINE_RING_RECORDS / 2), %rdx
    jae linked_slow
    mov C(CONTROL_RING_HEAD), %rdx
    and $(TRAPLINE_RING_RECORDS - 1), %edx
    shl $4, %edx
    mov %rbx, TRAPLINE_RING(%rdx)
    mov %rax, TRAPLINE_RING+8(%rdx)
    lock incq C(CONTROL_RING_HEAD)      // behind the record, and before the look at who is asleep
    cmpl $TRAPLINE_SLEEPS_FOR_GOOD, C(CONTROL_HOST_SLEEPS)
    jne count
    movl $1, C(CONTROL_ATTENTION)       // the turn goes over, and with it comes who empties the ring
    jmp count

vcpu_number:
    mov C(CONTROL_VCPU), %rax
    jmp count

clock:
    cmpq $0, C(CONTROL_CLOCK_MULTIPLIER)
    je linked_slow
    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    sub C(CONTROL_CLOCK_OFFSET), %rax
    mulq C(CONTROL_CLOCK_MULTIPLIER)
    mov %rdx, %rax

count:
    mov COUNTERS_LINKED(%rcx), %rdx
    test $63, %dl
    je linked_slow                      // one in 64 is timed; nothing was done yet that cannot be done again
    inc %rdx
    mov %rdx, COUNTERS_LINKED(%rcx)
    mov %rax, C(CONTROL_RESULT)
    cmpl $0, C(CONTROL_ATTENTION)
.globl linked_tail
linked_tail:
    jne linked_attend
    movzwl C(CONTROL_FLAGS), %eax
    add $0x7f, %al                      // OF, which SAHF leaves alone
    sahf
    mov C(CONTROL_RCX), %rcx
    mov C(CONTROL_RDX), %rdx
    mov C(CONTROL_RESULT), %rax
    jmp *C(CONTROL_RETURN)
.globl linked_tail_end
linked_tail_end:

// Puts the guest's state into the frame. RAX, RCX and RDX were saved; its stack is left for ours.
.macro SAVE_FRAME rax
    mov C(\rax), %rdx
    mov %rdx, FRAME(0)
    mov C(CONTROL_RCX), %rdx
    mov %rdx, FRAME(1)
    mov C(CONTROL_RDX), %rdx
    mov %rdx, FRAME(2)
    mov %rbx, FRAME(3)
    mov %rsp, FRAME(4)
    mov %rbp, FRAME(5)
    mov %rsi, FRAME(6)
    mov %rdi, FRAME(7)
    mov %r8, FRAME(8)
    mov %r9, FRAME(9)
    mov %r10, FRAME(10)
    mov %r11, FRAME(11)
    mov %r12, FRAME(12)
    mov %r13, FRAME(13)
    mov %r14, FRAME(14)
    mov %r15, FRAME(15)
    mov C(CONTROL_RETURN), %rdx
    mov %rdx, FRAME_RIP
    lea service_stack_end(%rip), %rsp
    movzwl C(CONTROL_FLAGS), %eax
    add $0x7f, %al
    sahf
    pushfq
    pop FRAME_RFLAGS
    cld
.endm

linked_slow:
    SAVE_FRAME CONTROL_RAX
    mov %rcx, %rdi
    call ServeLinked
    jmp resume

linked_attend:
    SAVE_FRAME CONTROL_RESULT
    call Attend

// ---- Back to the guest, with all that the frame says ----
.globl resume
resume:
    lea service_stack_end(%rip), %rsp
    cmpl $0, C(CONTROL_ATTENTION)
.globl resume_tail
resume_tail:
    jne resume_attend
    push FRAME_RFLAGS
    popfq
    mov FRAME(0), %rax
    mov FRAME(1), %rcx
    mov FRAME(2), %rdx
    mov FRAME(3), %rbx
    mov FRAME(5), %rbp
    mov FRAME(6), %rsi
    mov FRAME(7), %rdi
    mov FRAME(8), %r8
    mov FRAME(9), %r9
    mov FRAME(10), %r10
    mov FRAME(11), %r11
    mov FRAME(12), %r12
    mov FRAME(13), %r13
    mov FRAME(14), %r14
    mov FRAME(15), %r15
    mov FRAME(4), %rsp
    jmp *FRAME_RIP
.globl resume_tail_end
resume_tail_end:
resume_attend:
    call Attend
    jmp resume

// ---- System calls, of which the filter lets through three from here ----
.globl SystemCall
SystemCall:                             // (number, six arguments)
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
    syscall
    ret
.globl ReturnFromSignal
ReturnFromSignal:
    mov $15, %eax                       // rt_sigreturn
    syscall

.bss
.balign 4096
    .skip 16384
service_stack_end:
.section .note.GNU-stack, "", @progbits

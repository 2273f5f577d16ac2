// SPDX-License-Identifier: Apache-2.0
// Where upcalls arrive: saves what C code may change, hands the frame to OnUpcall, goes back by IRETQ to what it says then.
// The frame is aligned to 16 bytes, and so is the stack at the call after ten registers.
.equ kSaved, 10 * 8
.equ kCause, 3 * 8            // vector, error code, address
.text
.globl UpcallEntry
.type UpcallEntry, @function
UpcallEntry:
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbp
    cld
    lea kSaved(%rsp), %rdi
    call OnUpcall
    pop %rbp
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    add $kCause, %rsp
    iretq
.size UpcallEntry, . - UpcallEntry
.section .note.GNU-stack, "", @progbits

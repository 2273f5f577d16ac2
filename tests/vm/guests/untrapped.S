// SPDX-License-Identifier: Apache-2.0
// Instructions that a kernel may execute and that ring 3 executes otherwise: a function each, its answer in untrapped_answer.
.macro SNIPPET name
.section .rodata
8:  .asciz "\name"
.section .data
    .quad 8b, 9f
.text
9:
.endm
.macro ANSWER register=%rax
    mov \register, untrapped_answer(%rip)
    ret
.endm

.section .data
.balign 8
.globl untrapped
untrapped:                              // name, function
    SNIPPET pushf-after-cli
    cli
    pushfq
    pop %rax
    sti
    and $0x200, %rax
    ANSWER
    SNIPPET popf-of-if
    pushq $2
    popfq
    pushfq
    pop %rax
    and $0x200, %rax
    ANSWER
    SNIPPET cs
    mov %cs, %rax
    ANSWER
    SNIPPET ss
    mov %ss, %rax
    ANSWER
    SNIPPET lar
    mov $0x33, %ecx
    xor %eax, %eax
    lar %ecx, %eax
    ANSWER
    SNIPPET lsl
    mov $0x33, %ecx
    xor %eax, %eax
    lsl %ecx, %eax
    ANSWER
    SNIPPET verr
    mov $0x2b, %ecx
    verr %cx
    setz %al
    movzbl %al, %eax
    ANSWER
    SNIPPET verw
    mov $0x2b, %ecx
    verw %cx
    setz %al
    movzbl %al, %eax
    ANSWER
    SNIPPET sgdt
    sub $16, %rsp
    sgdt (%rsp)
    mov 2(%rsp), %rax
    add $16, %rsp
    ANSWER
    SNIPPET sidt
    sub $16, %rsp
    sidt (%rsp)
    mov 2(%rsp), %rax
    add $16, %rsp
    ANSWER
    SNIPPET sldt
    sldt %rax
    ANSWER
    SNIPPET str
    str %rax
    ANSWER
    SNIPPET smsw
    smsw %rax
    ANSWER
    SNIPPET rdtsc
    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    ANSWER
    SNIPPET rdtscp
    rdtscp
    ANSWER %rcx
    SNIPPET rdpid
    rdpid %rax
    ANSWER
    SNIPPET xgetbv
    xor %ecx, %ecx
    xgetbv
    ANSWER
    SNIPPET rdpmc
    xor %ecx, %ecx
    rdpmc
    ANSWER
    SNIPPET rdfsbase
    rdfsbase %rax
    ANSWER
    SNIPPET wrgsbase
    rdgsbase %rax
    wrgsbase %rax
    ANSWER
    SNIPPET clac
    clac
    ANSWER
    SNIPPET swapgs
    swapgs
    ANSWER
    SNIPPET cpuid
    push %rbx
    mov $0x40000100, %eax
    cpuid
    mov %rbx, %rax
    pop %rbx
    ANSWER
.section .data
    .quad 0
.bss
.balign 8
.globl untrapped_answer
untrapped_answer:
    .skip 8
.section .note.GNU-stack, "", @progbits

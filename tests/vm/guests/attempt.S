// SPDX-License-Identifier: Apache-2.0
// Attempts: a jump to anywhere with any registers, from which whatever fault comes of it leads back.
.text
// int Attempt(uint64_t target, const uint64_t registers[16]): registers in encoding order, RSP's being used only if it is
// not 0. 0 if the target returned, 1 if it faulted.
.globl Attempt
Attempt:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, attempt_stack(%rip)
    mov %rdi, attempt_target(%rip)
    mov 0x20(%rsi), %rax
    test %rax, %rax
    cmovnz %rax, %rsp
    mov 0x08(%rsi), %rcx
    mov 0x10(%rsi), %rdx
    mov 0x18(%rsi), %rbx
    mov 0x28(%rsi), %rbp
    mov 0x38(%rsi), %rdi
    mov 0x40(%rsi), %r8
    mov 0x48(%rsi), %r9
    mov 0x50(%rsi), %r10
    mov 0x58(%rsi), %r11
    mov 0x60(%rsi), %r12
    mov 0x68(%rsi), %r13
    mov 0x70(%rsi), %r14
    mov 0x78(%rsi), %r15
    mov 0x00(%rsi), %rax
    mov 0x30(%rsi), %rsi
    cmpq $0, attempt_jumps(%rip)
    jne 1f
    call *attempt_target(%rip)
    xor %eax, %eax
    jmp 2f
1:  jmp *attempt_target(%rip)
// Where OnUpcall sends a fault.
.globl AttemptFailed
AttemptFailed:
    mov $1, %eax
2:  mov attempt_stack(%rip), %rsp
    pushq $2
    popfq
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

// Targets.
.globl DoSyscall, DoInterrupt80, DoSysenter, DoFarInterrupt80, DoFarSysenter, DoFarSpin
DoSyscall:
    syscall
    ret
DoInterrupt80:
    int $0x80
    ret
DoSysenter:
    sysenter
    ret
DoFarInterrupt80:
    ljmp *1f(%rip)
DoFarSysenter:
    ljmp *2f(%rip)
DoFarSpin:
    ljmp *3f(%rip)
.globl Overflow
.type Overflow, @function
Overflow:
    sub $512, %rsp
    movq $0, (%rsp)
    call Overflow
.size Overflow, . - Overflow
.code32
4:  int $0x80
    ud2
5:  sysenter
    ud2
6:  pause
    jmp 6b
.code64
.section .rodata
1:  .long 4b
    .word 0x23
2:  .long 5b
    .word 0x23
3:  .long 6b
    .word 0x23
.bss
.balign 8
.globl attempt_stack, attempt_jumps
attempt_stack:
    .skip 8
attempt_target:
    .skip 8
attempt_jumps:                          // the target is jumped to, not called
    .skip 8
.section .note.GNU-stack, "", @progbits

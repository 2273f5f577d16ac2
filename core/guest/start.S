// SPDX-License-Identifier: Apache-2.0
// Entry of an example guest: 64-bit mode over identity page tables of the loader's (core/machine/loader), RDI the
// command line, RSI the size of low RAM, RDX the number of vCPUs.
.section .text.start, "ax"
.globl _start
_start:
    lea stack_top(%rip), %rsp
    xor %ebp, %ebp
    // SSE is there, but this code is built without it; .bss is zero, as the loader leaves it.
    call Main
    movzbl %al, %edi
    call Exit
1:  hlt
    jmp 1b

.section .bss
.balign 16
    .skip 65536
stack_top:

.section .note.trapline, "a", @note
.balign 4
    .long 9            // name size
    .long 4            // descriptor size
    .long 1            // type: ABI version
    .asciz "Trapline"
    .balign 4
    .long 1
.section .note.GNU-stack, "", @progbits

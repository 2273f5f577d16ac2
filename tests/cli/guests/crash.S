# SPDX-License-Identifier: Apache-2.0
# Says "crash>", makes a hundred hypercalls from one site, and then faults with no way to take a fault.
        .equ    TRAPLINE_HC_PING, 4096

        .text
        .globl  _start
_start:
        lea     prompt(%rip), %rsi
        call    put_text
        mov     $100, %edi
again:
        mov     $TRAPLINE_HC_PING, %eax
        mov     $42, %ebx
        .globl  crash_site
crash_site:
        vmcall
        dec     %edi
        jnz     again
        lidt    none(%rip)
        .globl  crash_here
crash_here:
        ud2

        .include "serial.inc"

none:
        .word   0
        .quad   0
prompt:
        .asciz  "crash>"
